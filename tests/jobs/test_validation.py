"""The bounds themselves; that nothing is stored beyond them is in test_lifecycle_bounds.py."""

from decimal import Decimal
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import validation
from jobs.exceptions import InvalidValue
from jobs.ids import is_job_id

SURROGATE = "\ud800"


@pytest.mark.parametrize("value", ["a", "job-123", "0", "A.b_c-d", "x" * 64])
def test_job_id__well_formed(value: str) -> None:
    assert validation.job_id(value) == value


@pytest.mark.parametrize(
    "value", ["", "-a", ".a", "_a", "a b", "a/b", "a\n", "x" * 65, "é", "a\x00", SURROGATE, None, 7, b"a"]
)
def test_job_id__malformed(value: Any) -> None:
    assert not is_job_id(value)
    with pytest.raises(InvalidValue, match="is no job id"):
        validation.job_id(value)


@pytest.mark.parametrize("value", [nan, inf, -inf, -0.01, 100.01, True, "50", b"5", None, [1], 10**400, 1j])
def test_number__refused(value: Any) -> None:
    with pytest.raises(InvalidValue):
        validation.number(value, "progress", 100)


@pytest.mark.parametrize("value", [0, 100, 0.0, 100.0, 33.3, Decimal("12.5")])
def test_number__taken(value: Any) -> None:
    assert validation.number(value, "progress", 100) == value


def test_number__without_a_highest_takes_large_ones() -> None:
    assert validation.number(10**15, "total") == 10**15


@pytest.mark.parametrize("value", ["x" * 2001, "a\x00b", SURROGATE, None, 5, b"bytes"])
def test_text__refused(value: Any) -> None:
    with pytest.raises(InvalidValue):
        validation.text(value, "message", 2000)


@pytest.mark.parametrize("value", ["", "x" * 2000, "naïve 🎉", "\\u0000"])
def test_text__taken(value: str) -> None:
    assert validation.text(value, "message", 2000) is value


@pytest.mark.parametrize(
    "value",
    [
        {"a": nan},
        {"a": inf},
        {"a": object()},
        {"a": {1, 2}},
        {"a": b"x"},
        {"a": SURROGATE},
        {"a": "x\x00"},
        {"a": [{"b\x00": 1}]},
        {"a": "x" * validation.MAX_METADATA},
        {"a": "é" * (validation.MAX_METADATA // 2)},
    ],
)
def test_json_value__refused(value: Any) -> None:
    with pytest.raises(InvalidValue):
        validation.json_value(value, "metadata")


def test_json_value__too_deep_for_json() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidValue):
        validation.json_value(value, "metadata")


def test_json_value__a_number_with_too_many_digits() -> None:
    with pytest.raises(InvalidValue):
        validation.json_value({"a": 10**5000}, "metadata")


def test_number__with_too_many_digits_to_be_shown() -> None:
    with pytest.raises(InvalidValue, match="not a value of type int"):
        validation.number(10**5000, "total")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=20), st.lists, max_leaves=10))
def test_json_value__is_the_same_or_refused(value: Any) -> None:
    try:
        assert validation.json_value(value, "metadata") == value
    except InvalidValue:
        assert "\x00" in str(value) or "\\x00" in repr(value)


def test_json_value__gives_what_json_gives_back() -> None:
    assert validation.json_value({"a": (1, 2), "b": {3: 4}}, "metadata") == {"a": [1, 2], "b": {"3": 4}}


def test_json_value__an_escape_in_words_is_no_nul() -> None:
    assert validation.json_value(r"\u0000", "metadata") == r"\u0000"
    assert validation.json_value([r"\u0000 in words", 1], "metadata") == [r"\u0000 in words", 1]


@pytest.mark.parametrize(
    "value", [None, [], "a", {1: 2}, {None: 1}, *({key: 1} for key in sorted(validation.RESERVED))]
)
def test_metadata__refused(value: Any) -> None:
    with pytest.raises(InvalidValue):
        validation.metadata(value)


@pytest.mark.parametrize("stage", [None, 7, "x" * 201])
def test_metadata__stage_is_a_text(stage: Any) -> None:
    with pytest.raises(InvalidValue, match="stage"):
        validation.metadata({"stage": stage})


def test_metadata__is_a_copy() -> None:
    given_value = {"files": ["a"]}
    taken = validation.metadata(given_value)
    given_value["files"].append("b")
    assert taken == {"files": ["a"]}


STAGES = [["download", 1], ["resize", 2.5]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"download": 1, "resize": 2.5}, STAGES),
        (STAGES, STAGES),
        ((("download", 1), ("resize", Decimal("2.5"))), STAGES),
        (["download", ["resize", 2.5]], STAGES),
        (["a", "b"], [["a", 1], ["b", 1]]),
        (["ab"], [["ab", 1]]),
        ([], []),
        ({}, []),
        ({"x" * 200: 1e-9}, [["x" * 200, 1e-9]]),
    ],
    ids=repr,
)
def test_plan__taken(value: Any, expected: Any) -> None:
    assert validation.plan(value) == expected


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("download", "mapping or a list"),
        (None, "mapping or a list"),
        (5, "mapping or a list"),
        ({"a"}, "mapping or a list"),
        ([str(number) for number in range(101)], "101 stages; at most 100"),
        ([5], "name of a stage"),
        ([("a", 1, 2)], "name of a stage"),
        ([""], "without a name"),
        (["x" * 201], "201 characters"),
        (["a\x00"], "NUL"),
        ([SURROGATE], "surrogate"),
        (["a", ("a", 2)], "'a' twice"),
        ({"a": 0}, "'a' in the plan must be above 0"),
        ({"a": -1}, "weight of the stage 'a'"),
        ({"a": inf}, "weight of the stage 'a'"),
        ({"a": nan}, "weight of the stage 'a'"),
        ({"a": True}, "weight of the stage 'a'"),
        ({"a": "1"}, "weight of the stage 'a'"),
        ({"a": None}, "weight of the stage 'a'"),
        ([str(number) + "x" * 196 for number in range(100)], "bytes as JSON"),
    ],
    ids=lambda value: f"{value!r:.40}",
)
def test_plan__refused(value: Any, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        validation.plan(value)


@pytest.mark.parametrize(("length", "ending"), [(9, "x"), (10, "x"), (11, "…")])
def test_fitting_text__is_cut_where_it_must_be(length: int, ending: str) -> None:
    words = validation.fitting_text("x" * length, 10)
    assert (len(words), words[-1]) == (min(length, 10), ending)


@pytest.mark.parametrize(("value", "highest"), [(100 + 1e-8, 100), (-1e-10, 0)])
def test_number__within_rounding_is_the_bound(value: float, highest: float) -> None:
    assert validation.number(value, "progress", 100) == highest

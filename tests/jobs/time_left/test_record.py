"""What is kept of a run, as a text."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.time_left.curves import LINEAR, packed
from jobs.time_left.record import MAX_SEGMENTS, MAX_TEXT, Run, Segment, keys, median_curve, outermost, run_of

CURVE = packed([(0.0, 0.0), (1.0, 1.0)], 1.0)
RUN = Run(
    100.0,
    (Segment("", False, 0.5), Segment("read", True, 60.0, 120.0, CURVE), Segment("solve › lift", False, 39.5)),
    *("rows", 5.0, ("read", "solve"), bytes(range(32))),
)

anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=90),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


def again(run: Run) -> Run:
    text = run.text()
    assert text is not None
    return run_of(run.seconds, run.unit, run.size, text)


def test_run__is_read_again_as_it_was() -> None:
    assert again(RUN) == RUN


def test_run__total_and_stages() -> None:
    assert RUN.total == 120.0
    assert RUN.stages == {"", "read", "solve"}
    assert RUN.places[("read", True, 1)] == 1


def test_keys__count_what_has_the_same_name() -> None:
    segments = [Segment("a", True, 1.0), Segment("a", False, 1.0), Segment("a", True, 1.0)]
    assert keys(segments) == [("a", True, 1), ("a", False, 1), ("a", True, 2)]


def test_outermost__of_stages_within_each_other() -> None:
    assert (outermost("import › parse"), outermost("import"), outermost("")) == ("import", "import", "")


def test_text__of_many_stages_keeps_the_curves_of_the_longest() -> None:
    short = [Segment(f"stage {number}", True, 2.2, 10.0, CURVE) for number in range(40)]
    run = again(Run(100.0, (*short, Segment("long", True, 12.0, 10.0, CURVE))))
    assert [segment.stage for segment in run.segments if segment.curve is not None] == ["long"]
    assert len(run.segments) == 41


def test_text__that_is_too_long_is_none() -> None:
    assert Run(100.0, tuple(Segment("x" * 200, True, 1.0, 10.0, CURVE) for _ in range(30))).text() is None


@given(st.lists(st.builds(Segment, st.text(max_size=200), st.just(False), st.floats(0, 8e6)), min_size=1, max_size=120))
def test_text__is_bounded(segments: list[Segment]) -> None:
    text = Run(8e6, tuple(segments)).text()
    assert text is None or len(text.encode(errors="surrogatepass")) <= MAX_TEXT


@given(anything | st.fixed_dictionaries({"segments": anything}, optional={"plan": anything, "percents": anything}))
def test_run_of__nonsense_is_refused_or_makes_sense(stored: Any) -> None:
    try:
        run = run_of(100.0, "", None, json.dumps(stored))
    except ValueError:
        return
    assert all(0 <= segment.seconds <= 8_640_000 for segment in run.segments)


BAD = [
    "",
    "{",
    "[]",
    "5",
    '{"segments": []}',
    json.dumps({"segments": [["", 0]] * (MAX_SEGMENTS + 1)}),
    '{"segments": [[]]}',
    '{"segments": [["a"]]}',
    '{"segments": [["a", "b"]]}',
    '{"segments": [["a", true]]}',
    '{"segments": [["a", NaN]]}',
    '{"segments": [["a", -1]]}',
    '{"segments": [["a", 1e400]]}',
    '{"segments": [[5, 1]]}',
    '{"segments": [["a", 1, "many"]]}',
    '{"segments": [["a", 1, 5, 7]]}',
    '{"segments": [["a", 1, 5, "AAAA"]]}',
    '{"segments": [["a", 1, 5, "AAAA", 1]]}',
    '{"segments": [["a", 1]], "plan": 5}',
    '{"segments": [["a", 1]], "plan": [5]}',
    '{"segments": [["a", 1]], "percents": "AAAA"}',
]


@pytest.mark.parametrize("text", BAD)
def test_run_of__what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        run_of(100.0, "", None, text)


@pytest.mark.parametrize(("seconds", "size"), [(-1.0, None), (float("nan"), None), (1e9, None), (1.0, float("inf"))])
def test_run_of__numbers_that_can_not_be_are_refused(seconds: float, size: float | None) -> None:
    text = RUN.text()
    assert text is not None
    with pytest.raises(ValueError, match="no number"):
        run_of(seconds, "", size, text)


def test_median_curve__is_that_of_each_moment() -> None:
    assert median_curve([bytes([1, 50]), bytes([2, 40]), bytes([9, 60])]) == [2, 50]
    assert LINEAR[-1] == 65_535

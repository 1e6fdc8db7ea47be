"""Stages as they are noted."""

import math
from typing import Any

import pytest

from jobs.reporting import notes
from jobs.reporting.notes import Notes


def entries(noted: Notes) -> list[dict[str, Any]]:
    return [arguments for _, arguments in noted.take()]


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    warnings: list[str] = []
    monkeypatch.setattr(notes.logger, "warning", lambda words, *arguments: warnings.append(words % arguments))
    return warnings


@pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf, "3", None, [1]], ids=repr)
def test_begin__a_weight_that_is_none_is_left_out(weight: Any, warned: list[str]) -> None:
    noted = Notes("job-1")
    noted.stages.job.plan = {"a": 3, "b": 1}
    noted.begin("a", total=2, weight=weight, plan=None)
    noted.begin("b", total=None, weight=None, plan=None)
    assert entries(noted)[-1]["progress"] == 75
    assert len(warned) == (weight is not None)


def test_begin__what_can_not_be_stored_is_made_to_fit(warned: list[str]) -> None:
    noted = Notes("job-1")
    label: Any = ["no", "text\x00"]
    noted.begin(label, total="many", weight=1, plan=["a", "a"])  # type: ignore[arg-type]
    noted.begin("x" * 300, total=None, weight=None, plan=None)
    first, second = (entry["stage"] for entry in entries(noted))
    assert first == str(label)
    assert (len(second), second[-1]) == (200, "…")
    assert len(warned) == 1


def test_begin__what_was_counted_before_is_told_first() -> None:
    noted = Notes("job-1")
    noted.stages.job.plan = {"a": 1, "b": 1}
    noted.begin("a", total=4, weight=None, plan=None)
    noted.take()
    noted.advance(3)
    noted.begin("b", total=9, weight=None, plan=None)
    first, second = entries(noted)
    assert (first["progress"], first["current"], first["total"], "stage" in first) == (37.5, 3, 4, False)
    assert (second["progress"], second["current"], second["total"], second["stage"]) == (50, 0, 9, "b")


def test_loop__counts_in_the_stage_in_which_it_began() -> None:
    noted = Notes("job-1")
    noted.must_pause = False
    noted.stages.job.plan = {"files": 1}
    outer = noted.begin("files", total=2, weight=None, plan=None)
    outer.is_entered = True
    for _ in noted.loop("ab", noted.take):
        inner = noted.begin("one", total=5, weight=None, plan=None)
        noted.advance(5)
        assert noted.current == 5
        noted.leave(inner, is_done=True)
    assert (noted.current, outer.current) == (2, 2)


def test_leave__shows_the_outer_one_again_unless_another_begins() -> None:
    noted = Notes("job-1")
    outer = noted.begin("import", total=None, weight=2, plan=None)
    outer.is_entered = True
    for label in ("parse", "load"):
        noted.leave(noted.begin(label, total=None, weight=None, plan=None), is_done=True)
    assert [entry.get("stage") for entry in entries(noted)] == ["import", "import › parse", "import › load", "import"]

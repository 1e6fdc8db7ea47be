"""What a job's code has said, until it is written: when that is, and in which stage it counts."""

import itertools

import pytest

from jobs.reporting import notes as module
from jobs.reporting.notes import Notes
from jobs.reporting.stages import Tally


@pytest.mark.parametrize("say", [lambda notes: notes.log("a line", "info"), lambda notes: notes.output("a", "answer")])
def test_lines__wait_a_moment_for_others_and_not_once_they_are_many(say: object) -> None:
    notes, wakes = Notes("job"), list[float]()
    notes.wake = wakes.append
    for _ in range(module.MANY - 1):
        say(notes)  # type: ignore[operator]
    assert wakes == [module.GATHER_SECONDS]
    say(notes)  # type: ignore[operator]
    assert wakes == [module.GATHER_SECONDS, 0]
    notes.take()
    say(notes)  # type: ignore[operator]
    assert wakes == [module.GATHER_SECONDS, 0, module.GATHER_SECONDS]


@pytest.mark.parametrize("is_left", [False, True])
def test_begin__what_others_count_meanwhile_is_of_one_stage_or_the_other(is_left: bool) -> None:
    counts, notes = itertools.count(1), Notes("job")
    part = notes.begin("a", total=None, weight=1, plan=None)
    notes.stages.add(Tally(lambda: next(counts)))  # one more with each look
    if is_left:
        notes.leave(part, is_done=True)
    notes.begin("b", total=None, weight=1, plan=None)
    shown = [tick["current"] or 0 for _, tick in notes.take()]  # one tick of each stage, and of what is between
    assert sum(shown) == next(counts) - 1

"""What a job's code has said, until it is written: when that is."""

import pytest

from jobs.reporting import notes as module
from jobs.reporting.notes import Notes


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

"""The table of moves, against the design's sentence of it."""

import pytest

from jobs.exceptions import InvalidTransition
from jobs.states import ALLOWED, TERMINAL, Status, require_transition

MOVES = {
    "pending": "queued in_progress cancelled failed",
    "queued": "in_progress cancelled failed",
    "in_progress": "completed failed cancelled queued",
    "completed": "",
    "failed": "queued",
    "cancelled": "queued",
}


@pytest.mark.parametrize("current", Status)
@pytest.mark.parametrize("new", Status)
def test_require_transition__every_pair(current: Status, new: Status) -> None:
    if new in MOVES[current].split():
        require_transition("job-1", current, new)
    else:
        with pytest.raises(InvalidTransition) as raised:
            require_transition("job-1", current, new)
        assert (raised.value.current, raised.value.new) == (current, new)


def test_allowed__covers_every_status() -> None:
    assert set(ALLOWED) == set(Status)


def test_terminal__is_where_nothing_but_a_retry_follows() -> None:
    assert {status for status, moves in ALLOWED.items() if moves <= {Status.QUEUED}} == TERMINAL


def test_invalid_transition__says_what_happened() -> None:
    with pytest.raises(InvalidTransition, match=r"^Job 'job-1' is completed; it can't become queued\.$"):
        require_transition("job-1", "completed", Status.QUEUED)


def test_label__is_in_words() -> None:
    assert Status.IN_PROGRESS.label == "In progress"

"""What the tests of reporters in other processes look at."""

import time
from typing import Any

from jobs.exceptions import InvalidTransition
from jobs.reporting.listener import Listener
from jobs.reporting.notes import Notes

WAIT_SECONDS = 10.0
OVER = InvalidTransition("job-1", "completed", "in_progress")


def until(condition: Any) -> None:
    give_up_at = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


def entries(notes: Notes, listener: Listener, *names: str) -> list[dict[str, Any]]:
    listener.close(OVER)
    return [arguments for name, arguments in notes.take() if name in (names or ("log", "output", "mark_progress"))]

"""The server's time, as it tells it: the clock of the terminal's machine may be wrong by minutes."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any


class ServerClock:
    """Goes by a steady clock, which nobody sets, and by what the server said last.

    Args:
        ticks: The steady clock, in seconds.

    """

    def __init__(self, ticks: Callable[[], float] = time.monotonic) -> None:
        self._ticks = ticks
        self._origin: datetime | None = None  # the server's time at the steady clock's 0

    def reset(self) -> None:
        """Forget what an earlier connection said: it may have been another server's, or of before the machine slept."""
        self._origin = None

    def hear(self, frame: dict[str, Any]) -> None:
        """Learn from a heartbeat or a pong; one can only be late, so the latest origin is the nearest."""
        if frame.get("type") not in ("heartbeat", "pong"):  # events are stamped by workers, and may be old
            return
        told = moment(frame.get("timestamp"))
        if told is not None:
            origin = told - timedelta(seconds=self._ticks())
            self._origin = max(origin, self._origin or origin)

    def now(self) -> datetime | None:
        """Return the server's time; None until it has told it."""
        return None if self._origin is None else self._origin + timedelta(seconds=self._ticks())


def moment(timestamp: object) -> datetime | None:
    """Return the moment in a timestamp; None if it is none."""
    try:
        at = datetime.fromisoformat(timestamp)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def seconds_since(timestamp: object, now: datetime | None) -> float | None:
    """Return how many seconds ago a moment was, at least 0; None if either is unknown."""
    at = moment(timestamp)
    return None if at is None or now is None else max(0.0, (now - at).total_seconds())

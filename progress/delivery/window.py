"""What a process holds of one watched job: how far it has followed the log, and its last events.

Pure: it decides what is fresh, what is missing and what can be replayed; others read and send.
"""

import json
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Any

from ..protocol.frames import Frame, snapshot
from ..protocol.position import Position

WINDOW_BYTES = 131_072  # of frames, for each watched job: several hundred usual events, a few of 15 KB


class Verdict(Enum):
    """What an offered event is, against the position."""

    FRESH = "the next one"
    SEEN = "known already"
    GAP = "one or more are missing before it"


class Window:
    """The log of one job up to a position, with its last events.

    Args:
        about: What snapshots say of the job beside its state, as `job_about` returns it.
        position: Where the job stood when it was read.
        state: The fields of a ``progress`` frame that shows the job there.
        most: How many recent events to keep; fewer if they take more than `WINDOW_BYTES`.

    """

    def __init__(self, about: dict[str, Any], position: Position, state: dict[str, Any], most: int) -> None:
        self.about = about
        self.position = position
        self.events: deque[Frame] = deque()
        self.is_filled = False  # with what came before the job was read
        self._most = most
        self._size = 0
        self._state = state
        self._shown: Frame | None = None  # the last event that shows the state, until it is folded into `_state`
        self._changed_at: datetime | None = None
        self._snapshots: dict[bool, Frame] = {}

    @property
    def begin(self) -> int:
        """The position after which every event is here."""
        return self.position.seq - len(self.events)

    def verdict(self, seq: int) -> Verdict:
        """Return whether the event ``seq`` is the one to `append` next."""
        if seq == self.position.seq + 1:
            return Verdict.FRESH
        return Verdict.GAP if seq > self.position.seq else Verdict.SEEN

    def append(self, frame: Frame) -> None:
        """Add the next event; the oldest go where there is no room."""
        assert frame.seq == self.position.seq + 1, "the verdict was another"
        self.position = Position(self.position.epoch, frame.seq)
        self.events.append(frame)
        self._size += len(frame.payload)
        while len(self.events) > self._most or self._size > WINDOW_BYTES:
            self._size -= len(self.events.popleft().payload)
        self._snapshots.clear()
        if not frame.extra:
            self._shown = frame

    def describe(self, about: dict[str, Any]) -> None:
        """Say this of the job from here on."""
        if about != self.about:
            self.about = about
            self._snapshots.clear()

    def fill(self, older: Sequence[Frame]) -> None:
        """Add older events in front, as far as they join on and there is room."""
        self.is_filled = True
        for frame in reversed(older):
            if len(self.events) == self._most or self._size + len(frame.payload) > WINDOW_BYTES:
                return
            if frame.seq == self.begin:
                self.events.appendleft(frame)
                self._size += len(frame.payload)

    def after(self, seq: int) -> list[Frame] | None:
        """Return every event after ``seq``, in order; None if the window does not reach back so far."""
        if not self.begin <= seq <= self.position.seq:
            return None
        return [self.events[index] for index in range(seq - self.begin, len(self.events))]

    @property
    def changed_at(self) -> datetime:
        """When the job came to the state that is shown."""
        self._settle()
        if self._changed_at is None:
            self._changed_at = datetime.fromisoformat(self._state["timestamp"])
        return self._changed_at

    def snapshot(self, *, recovered: bool) -> Frame:
        """Return the frame that shows the job at the position.

        Raises:
            ValueError: The state that it was made with can't be encoded.

        """
        if recovered not in self._snapshots:
            self._settle()
            self._snapshots[recovered] = snapshot(
                self._state, about=self.about, position=self.position, recovered=recovered
            )
        return self._snapshots[recovered]

    def _settle(self) -> None:
        """Bring the state up to the last event that shows one: not with each event, since it is seldom asked for."""
        if self._shown is not None:
            self._state, self._shown, self._changed_at = json.loads(self._shown.text), None, None


def is_whole(frames: Sequence[Frame], after: int, upto: int) -> bool:
    """Return whether events read from the log are all those with ``after < seq <= upto``, in order."""
    return [frame.seq for frame in frames] == list(range(after + 1, upto + 1))


def news_of(about: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what no event tells of what is said about a job: when it began is the time of that event."""
    return about and {name: value for name, value in about.items() if name != "started_at"}

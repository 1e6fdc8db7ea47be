"""What a process holds of one watched job: how far it has followed the log, and the last stretch of it.

Pure: it decides what is fresh, what is missing and what can be replayed; others read and send.
"""

import json
from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import Any

from progress.protocol import Frame, Position, snapshot


class Verdict(Enum):
    """What an offered event is, against the position."""

    FRESH = "the next one"
    SEEN = "known already"
    GAP = "one or more are missing before it"


class Stream:
    """The log of one job up to a position, with its last events kept in a ring.

    Args:
        name: The job's name.
        position: Where the job stood when it was read.
        state: The fields of a ``progress`` frame that shows the job there.
        ring: How many recent events to keep.

    """

    def __init__(self, name: str, position: Position, state: dict[str, Any], ring: int) -> None:
        self.name = name
        self.position = position
        self.ring: deque[Frame] = deque(maxlen=ring)
        self._state = state
        self._shown: Frame | None = None  # the event that shows the present state, once one came
        self._snapshots: dict[bool, Frame] = {}

    def offer(self, seq: int) -> Verdict:
        """Tell whether the event ``seq`` is the one to `append` next."""
        if seq == self.position.seq + 1:
            return Verdict.FRESH
        return Verdict.GAP if seq > self.position.seq else Verdict.SEEN

    def append(self, frame: Frame, *, is_log: bool) -> None:
        """Take the next event in."""
        assert frame.seq == self.position.seq + 1, "offer() said otherwise"
        self.position = Position(self.position.epoch, frame.seq)
        self.ring.append(frame)
        self._snapshots.clear()
        if not is_log:
            self._shown = frame

    def fill(self, frames: Sequence[Frame]) -> None:
        """Put older events before those in the ring, as far as they join on and there is room."""
        first = self.ring[0].seq if self.ring else self.position.seq + 1
        for frame in reversed(frames):
            if len(self.ring) == self.ring.maxlen:
                return
            if frame.seq == first - 1:
                self.ring.appendleft(frame)
                first = frame.seq

    def after(self, seq: int) -> list[Frame] | None:
        """Return every event after ``seq``, in order; None if the ring does not reach back so far."""
        missed = self.position.seq - seq
        if missed < 0 or missed > len(self.ring):
            return None
        start = len(self.ring) - missed
        return [self.ring[index] for index in range(start, len(self.ring))]

    def snapshot(self, *, recovered: bool) -> Frame:
        """Return the frame that shows the job at the position."""
        if recovered not in self._snapshots:
            if self._shown is not None:
                self._state, self._shown = json.loads(self._shown.text), None
            self._snapshots[recovered] = snapshot(
                self._state, name=self.name, position=self.position, recovered=recovered
            )
        return self._snapshots[recovered]


def is_whole(frames: Sequence[Frame], after: int, upto: int) -> bool:
    """Tell whether events read from the log are all those with ``after < seq <= upto``, in order."""
    return [frame.seq for frame in frames] == list(range(after + 1, upto + 1))

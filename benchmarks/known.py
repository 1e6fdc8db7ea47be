"""What all watchers of a job must get: learned from the first of them, compared with what the others read."""

import sys
from bisect import bisect_right


class Known:
    """The frames of one job that are known to be right, in order, as one piece.

    Args:
        base: The seq before the first.

    """

    def __init__(self, base: int) -> None:
        self.base = base
        self.data = bytearray()
        self.goal = sys.maxsize  # where the data ends, once it holds the last event
        self.snapshot = b""  # the frame, once it came
        self.shift: int | None = None  # see `expected.shift`
        self._begins = [0]  # of each frame, and of the one that comes next

    def append(self, seq: int, frame: bytes) -> None:
        """Take in a frame, if it is the next."""
        if seq == self.base + len(self._begins):
            self.data += frame
            self._begins.append(len(self.data))

    def at(self, seq: int) -> int:
        """Return where the frame of an event begins; -1 if that can't be said."""
        number = seq - self.base - 1
        return self._begins[number] if 0 <= number < len(self._begins) else -1

    def frame(self, seq: int) -> bytes | None:
        """Return the frame of an event, if it is known."""
        end = self.at(seq + 1)
        return None if end < 0 else bytes(self.data[self.at(seq) : end])

    def seq_at(self, place: int) -> int:
        """Return the event whose frame holds, or begins at, this place."""
        return self.base + bisect_right(self._begins, place)

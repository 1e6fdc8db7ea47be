"""What waits for one slow watcher: bounded, in order, and only the latest tick of each job."""

from progress.protocol import Frame


class Outbox:
    """Frames that wait until their socket can take more. Pure.

    A tick is superseded by any later frame of the same job, since each shows the job's whole state;
    it is taken out when one comes. Nothing else is ever dropped.

    Args:
        limit: How many bytes may wait.

    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: dict[int, Frame] = {}  # by order of arrival
        self._ticks: dict[str, int] = {}  # the waiting tick of each job
        self._arrivals = 0
        self._size = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, frame: Frame) -> bool:
        """Let a frame wait; return False if that is more than may wait."""
        superseded = self._ticks.pop(frame.subject, None)
        if superseded is not None:
            self._size -= len(self._waiting.pop(superseded).wire)
        if frame.is_tick:
            self._ticks[frame.subject] = self._arrivals
        self._waiting[self._arrivals] = frame
        self._arrivals += 1
        self._size += len(frame.wire)
        return self._size <= self._limit

    def pop(self) -> Frame:
        """Take out the frame that waits longest."""
        arrival = next(iter(self._waiting))
        frame = self._waiting.pop(arrival)
        if self._ticks.get(frame.subject) == arrival:
            del self._ticks[frame.subject]
        self._size -= len(frame.wire)
        return frame

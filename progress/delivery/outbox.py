"""What waits for one slow watcher: bounded, in order, and only the latest tick of each job."""

from collections import OrderedDict

from ..protocol.frames import Frame


class Outbox:
    """Frames that wait until their connection can take more. Pure.

    A tick is superseded by any later frame of the same job, since each shows the job's whole state;
    it is taken out when one comes. A lasting frame is never superseded. Nothing else is ever dropped.

    Args:
        limit: How many bytes may wait.

    """

    __slots__ = ("_arrivals", "_limit", "_size", "_ticks", "_waiting")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # By order of arrival. In a plain dict, the first key is looked for behind all that were taken out.
        self._waiting: OrderedDict[int, Frame] = OrderedDict()
        self._ticks: dict[str, int] = {}  # the waiting tick of each job that may be superseded
        self._arrivals = 0
        self._size = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, frame: Frame, *, lasting: bool = False) -> bool:
        """Add a frame, to be superseded unless it is lasting; return False if that is more than may wait."""
        if self._ticks and (superseded := self._ticks.pop(frame.state_of, None)) is not None:
            self._size -= len(self._waiting.pop(superseded).payload)
        if frame.is_tick and not lasting:
            self._ticks[frame.state_of] = self._arrivals
        self._waiting[self._arrivals] = frame
        self._arrivals += 1
        self._size += len(frame.payload)
        return self._size <= self._limit

    def pop(self) -> Frame | None:
        """Take out the frame that waits longest, if there is one."""
        if not self._waiting:
            return None
        arrival, frame = self._waiting.popitem(last=False)
        if self._ticks and self._ticks.get(frame.state_of) == arrival:
            del self._ticks[frame.state_of]
        self._size -= len(frame.payload)
        return frame

    def clear(self) -> None:
        """Drop all that waits: its connection takes nothing more."""
        self._waiting.clear()
        self._ticks.clear()
        self._size = 0

"""What clients have missed of a job: from its window, or from the log, read once for all who ask."""

from collections.abc import Awaitable, Callable, Sequence

from ..conf import conf
from ..protocol.frames import Frame
from .pages import Pages
from .reads import Shared
from .window import Window


class Replay:
    """The events before those of a window, and up to its position.

    Args:
        window: What the process holds of the stream.
        read: Reads the events after one ``seq`` up to another from the log.

    """

    def __init__(self, window: Window, read: Callable[[int, int], Awaitable[Sequence[Frame]]]) -> None:
        self._window = window
        self._read = read
        self._filling: Shared[None, None] = Shared()
        self._pages: Pages | None = None  # there while clients read what the window does not hold

    async def after(self, seq: int) -> Sequence[Frame] | None:
        """Return the next events after ``seq`` without a gap, perhaps not all; None if they are no longer kept."""
        window = self._window
        behind = window.position.seq - seq
        if not 0 <= behind <= conf.REPLAY_EVENTS:
            return None
        if seq < window.begin and behind <= conf.RING_EVENTS and not window.is_filled:
            await self._filling.once(None, self._fill)
        missed = window.after(seq)
        if missed is not None:
            return missed
        if self._pages is None:
            self._pages = Pages(self._read)
        return await self._pages.after(seq, window.begin, window.position.seq)

    def forget_pages(self) -> None:
        """Keep nothing of the log: nobody replays it any more."""
        self._pages = None

    async def _fill(self) -> None:
        begin = self._window.begin
        self._window.fill(await self._read(begin - conf.RING_EVENTS, begin))

"""The log of a watched job in pages, each read once for all clients that replay it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from ..protocol.frames import Frame
from .reads import Shared
from .window import is_whole

PAGE_EVENTS = 256  # read from the log at a time
KEPT_BYTES = 4_194_304  # of frames: what 5,000 usual events take, so that a storm of clients reads each page once


class Page(NamedTuple):
    """What the log had of one page, up to where it was read."""

    upto: int
    events: Sequence[Frame]
    size: int


class Pages:
    """The log of one stream in pages, kept while anybody replays.

    Args:
        read: Reads the events after one ``seq`` up to another.

    """

    def __init__(self, read: Callable[[int, int], Awaitable[Sequence[Frame]]]) -> None:
        self._read = read
        self._reading: Shared[int, Page] = Shared()  # by where the page begins
        self._kept: dict[int, Page] = {}  # those that were read last at the end

    async def after(self, seq: int, needed: int, known: int) -> Sequence[Frame] | None:
        """Return the events after ``seq`` to the end of their page, of a log that is known up to a position.

        Args:
            seq: The last event that is not wanted.
            needed: A page that was read up to here will do.
            known: Up to where a page may be read.

        Returns:
            The events; None if one of them is missing.

        """
        begin = seq - seq % PAGE_EVENTS
        page = self._kept.get(begin)
        if page is None or page.upto < min(begin + PAGE_EVENTS, needed):
            page = await self._reading.once(begin, lambda: self._read_page(begin, min(begin + PAGE_EVENTS, known)))
        rest = [frame for frame in page.events if frame.seq > seq]
        return rest if is_whole(rest, seq, page.upto) else None

    async def _read_page(self, begin: int, upto: int) -> Page:
        events = await self._read(begin, upto)
        self._kept.pop(begin, None)
        self._kept[begin] = page = Page(upto, events, sum(len(frame.payload) for frame in events))
        while len(self._kept) > 1 and sum(each.size for each in self._kept.values()) > KEPT_BYTES:
            del self._kept[next(iter(self._kept))]  # the last stays, since it is asked for until all of it was sent
        return page

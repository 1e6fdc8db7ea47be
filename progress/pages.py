"""The log of a watched job in pages, each read once for all clients that replay it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from progress.protocol import Frame
from progress.window import is_whole

PAGE_EVENTS = 256  # read from the log at a time
KEPT_BYTES = 4_194_304  # of frames: what 5,000 usual events take, so that a storm of clients reads each page once


class Page(NamedTuple):
    """What the log had of one page, up to where it was read."""

    upto: int
    events: Sequence[Frame]


class Pages:
    """The log of one stream in pages, kept while anybody replays.

    Args:
        read: Reads the events after one ``seq`` up to another.

    """

    def __init__(self, read: Callable[[int, int], Awaitable[Sequence[Frame]]]) -> None:
        self._read = read
        self._reading: dict[int, asyncio.Task[Page]] = {}  # by where the page begins
        self._kept: dict[int, Page] = {}  # those that were read last at the end
        self._size = 0

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
            page = await self._once(begin, min(begin + PAGE_EVENTS, known))
        rest = [frame for frame in page.events if frame.seq > seq]
        return rest if is_whole(rest, seq, page.upto) else None

    async def _once(self, begin: int, upto: int) -> Page:
        """Read a page, for all who wait for it."""
        if begin not in self._reading:
            self._reading[begin] = asyncio.ensure_future(self._read_and_keep(begin, upto))
            self._reading[begin].add_done_callback(lambda done: self._end_reading(begin, done))
        return await asyncio.shield(self._reading[begin])

    def _end_reading(self, begin: int, done: asyncio.Task[Page]) -> None:
        del self._reading[begin]
        if not done.cancelled():
            done.exception()  # those who still wait for it get it; there may be nobody left

    async def _read_and_keep(self, begin: int, upto: int) -> Page:
        page = Page(upto, await self._read(begin, upto))
        self._forget(begin)
        self._kept[begin] = page
        self._size += _size(page)
        while self._size > KEPT_BYTES and len(self._kept) > 1:  # a page is asked for until all of it was sent
            self._forget(next(iter(self._kept)))
        return page

    def _forget(self, begin: int) -> None:
        if begin in self._kept:
            self._size -= _size(self._kept.pop(begin))


def _size(page: Page) -> int:
    return sum(len(frame.wire) for frame in page.events)

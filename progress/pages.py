"""Stretches of a job's log, read once for all clients that replay them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from progress.protocol import Frame
from progress.stream import is_whole

PAGE_EVENTS = 256  # read from the log at a time
KEPT_BYTES = 4_194_304  # of frames: what 5,000 usual events take, so that a storm of clients reads each page once

Stretch = tuple[int, int]  # events after the one, up to the other


class Pages:
    """The log of one job in pages.

    Args:
        read: Reads the events after one ``seq`` up to another.

    """

    def __init__(self, read: Callable[[int, int], Awaitable[Sequence[Frame]]]) -> None:
        self._read = read
        self._reading: dict[Stretch, asyncio.Task[Sequence[Frame]]] = {}
        self._kept: dict[Stretch, Sequence[Frame]] = {}  # those that were read last at the end
        self._size = 0

    async def after(self, seq: int, upto: int) -> Sequence[Frame] | None:
        """Return the events after ``seq`` to the end of their page, or up to ``upto``; None if one is missing."""
        begin = seq - seq % PAGE_EVENTS
        stretch = begin, min(begin + PAGE_EVENTS, upto)
        page = self._kept.get(stretch)
        if page is None:
            page = await self._once(stretch)
        rest = [frame for frame in page if frame.seq > seq]
        return rest if is_whole(rest, seq, stretch[1]) else None

    async def _once(self, stretch: Stretch) -> Sequence[Frame]:
        """Read a page, for all who wait for it."""
        if stretch not in self._reading:
            reading = asyncio.ensure_future(self._read_and_keep(stretch))
            self._reading[stretch] = reading
            reading.add_done_callback(lambda _: self._reading.pop(stretch))
        return await asyncio.shield(self._reading[stretch])

    async def _read_and_keep(self, stretch: Stretch) -> Sequence[Frame]:
        page = await self._read(*stretch)
        self._kept[stretch] = page
        self._size += _size(page)
        while self._size > KEPT_BYTES and len(self._kept) > 1:  # a page is asked for until all of it was sent
            self._size -= _size(self._kept.pop(next(iter(self._kept))))
        return page


def _size(page: Sequence[Frame]) -> int:
    return sum(len(frame.wire) for frame in page)

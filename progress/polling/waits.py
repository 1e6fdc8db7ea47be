"""All waits of one event loop: their limits, the taps that they rest on, and their end when the server stops."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from ..conf import conf
from ..delivery import hubs
from ..delivery.reads import Shared
from ..identity.identity import ANYBODY, Identity
from .asked import Asked
from .pieces import Piece
from .refusals import too_many_waits, unavailable
from .tap import Tap

LINGER_SECONDS = 5.0  # for which a tap is kept on which nobody waits: those whom it has answered come back at once

Look = Callable[[], Awaitable[Piece]]  # reads the answer from the log, and who may see it


def now_ms() -> int:
    """Return the time, as windows go by it."""
    return time.time_ns() // 1_000_000


class Waits:
    """Who waits in one event loop."""

    def __init__(self) -> None:
        self.looks: Shared[Asked, Piece] = Shared()  # into the log, of anonymous visitors who ask for the same
        self.is_draining = False
        self._hub = hubs.current()
        self._waiting: Counter[str] = Counter()  # by job
        self._public: dict[str, Tap] = {}  # by job
        self._own: dict[Tap, None] = {}

    async def follow(self, asked: Asked, until: int, look: Look) -> Piece:
        """Return what follows a position, to an anonymous visitor: once there is something, or the time is over.

        Args:
            asked: The job and the position.
            until: When the wait ends, in milliseconds since 1970.
            look: Reads the answer.

        Raises:
            Refused: As by ``look``, or too many wait.

        """
        tap = self._public.get(asked.job_id)
        if tap is None or (piece := tap.piece(asked)) is None:
            piece = await look()
        if not piece.is_empty:
            return piece
        with self._place(asked.job_id), self._public_tap(asked) as tap:
            return await self._wait(tap, asked, piece, until, look)

    async def follow_as(
        self, identity: Identity, client: str, asked: Asked, known: Piece, until: int, look: Look
    ) -> Piece:
        """Do as `follow` for one client, who has looked before, and whose wait counts as one of its connections.

        Raises:
            Refused: As by ``look``, or too many wait.

        """
        with self._place(asked.job_id), self._own_tap(asked, identity) as tap:
            places = self._hub.places
            if not await places.take(client, conf.MAX_CONNECTIONS_PER_CLIENT):
                raise too_many_waits()
            try:
                assert asked.since is not None, "nobody waits for a snapshot"
                tap.begin(asked.since)
                return await self._wait(tap, asked, known, until, look)
            finally:
                places.give_back(client)

    async def _wait(self, tap: Tap, asked: Asked, known: Piece, until: int, look: Look) -> Piece:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (until - now_ms()) / 1000  # whoever sets the clock meanwhile
        while True:
            news = tap.news  # taken before anything is looked at, so that nothing comes between
            if (piece := tap.piece(asked)) is not None:
                known = piece
            elif tap.has_begun:  # memory does not have it, or access is in doubt: the log knows
                known = await look()
                if not known.is_empty:
                    return known
                if tap.is_over:
                    raise tap.refusal or unavailable()
            if known.frames or known.is_whole or loop.time() >= deadline or self.is_draining:
                return known
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await asyncio.shield(news)  # who is cancelled does not cancel it for the others

    @contextmanager
    def _place(self, job_id: str) -> Iterator[None]:
        if self._waiting.total() >= conf.MAX_WAITS or self._waiting[job_id] >= conf.MAX_WAITS_PER_JOB:
            raise too_many_waits()
        self._waiting[job_id] += 1
        try:
            yield
        finally:
            self._waiting[job_id] -= 1
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    @contextmanager
    def _public_tap(self, asked: Asked) -> Iterator[Tap]:
        tap = self._public.get(asked.job_id)
        if tap is None or tap.is_over:
            assert asked.since is not None, "nobody waits for a snapshot"
            tap = self._public[asked.job_id] = Tap(self._hub, asked.job_id, ANYBODY)
            tap.begin(asked.since)
        tap.waiting += 1
        try:
            yield tap
        finally:
            tap.waiting -= 1
            tap.left_at = self._hub.loop.time()
            if not tap.waiting:
                seconds = 0 if self.is_draining or tap.is_over else LINGER_SECONDS
                self._hub.loop.call_later(seconds, self._end_idle, tap, tap.left_at)

    def _end_idle(self, tap: Tap, left_at: float) -> None:
        """End a tap that nobody has used since it was left."""
        if not tap.waiting and tap.left_at == left_at:
            tap.end()
            if self._public.get(tap.job_id) is tap:
                del self._public[tap.job_id]

    @contextmanager
    def _own_tap(self, asked: Asked, identity: Identity) -> Iterator[Tap]:
        tap = Tap(self._hub, asked.job_id, identity)
        self._own[tap] = None
        try:
            yield tap
        finally:
            del self._own[tap]
            tap.end()

    def drain(self) -> None:
        """Answer every wait at once, and let nobody wait from here on."""
        self.is_draining = True
        for tap in [*self._public.values(), *self._own]:
            tap.wake()
            if not tap.waiting and tap not in self._own:
                self._end_idle(tap, tap.left_at)


_waits: dict[asyncio.AbstractEventLoop, Waits] = {}


def current() -> Waits:
    """Return the waits of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _waits:
        for closed in [each for each in _waits if each.is_closed()]:
            del _waits[closed]
        _waits[loop] = Waits()
    return _waits[loop]

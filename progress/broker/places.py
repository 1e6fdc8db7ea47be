"""Places that clients and watchers take: counted over all servers where they share a Redis, else in this process.

A server asks before it gives a place, and tells the others how many of each key it has given. What it has given itself
bounds it in any case; while the shared count does not answer, that is the only bound.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple, Protocol

logger = logging.getLogger(__name__)

BEAT_SECONDS = 2.0  # between two signs of life; also between two tries while the shared count does not answer
ANSWER_SECONDS = 1.0  # after which the shared count does not answer
GATHER_SECONDS = 0.02  # after a round trip, so that the next is for many; after a pause, one begins at once
KEYS_A_BATCH = 500  # so that no batch occupies Redis for long


class Entry(NamedTuple):
    """What a server tells and asks of one key.

    Args:
        taken: How many places it has given.
        wanted: How many more are asked for.
        limit: How many there may be on all servers.

    """

    taken: int
    wanted: int = 0
    limit: int = 0


class SharedCount(Protocol):
    """What servers count together: `progress.broker.redis_places.RedisPlaces`."""

    async def exchange(self, entries: Mapping[str, Entry], *, anew: bool) -> list[int] | None:
        """Tell what this server has given and ask for more; also a sign of life.

        Args:
            entries: By key; the count of any other key has not changed.
            anew: Forget what this server told before.

        Returns:
            How many of the wanted places it may give, in the order of the entries; None, and nothing is done, if what
            it told before is lost: then it is to tell everything anew.

        """

    async def leave(self) -> None:
        """Give all places back, and close the connection."""


class Places:
    """The places that this process has given, while `run` keeps the shared count.

    Args:
        shared: The shared count; None counts in this process only.

    """

    def __init__(self, shared: SharedCount | None = None) -> None:
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, list[tuple[asyncio.Future[bool], int]]] = {}  # who asks, and the limit
        self._changed: dict[str, None] = {}  # keys whose count the others do not know yet
        self._shared = shared
        self._answers = shared is not None  # the shared count does, or was not asked yet
        self._is_lost = True  # the shared count may not have what was told before
        self._is_giving_back = False
        self._wanted = asyncio.Event()  # an exchange, before the next sign of life is due

    async def take(self, key: str, limit: int) -> bool:
        """Take a place; return False if ``limit`` are taken. All who ask together share a round trip."""
        if self._taken[key] >= limit:
            return False
        if not self._answers:
            self._count(key, 1)
            return True
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append((answer, limit))
        self._wanted.set()
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.cancelled() and answer.result():
                self.give_back(key)
            raise

    def give_back(self, key: str) -> None:
        """Give a place back."""
        self._count(key, -1)
        if self._answers and not self._is_giving_back:
            self._is_giving_back = True
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._wanted.set)

    def _count(self, key: str, places: int) -> None:
        self._taken[key] += places
        if not self._taken[key]:
            del self._taken[key]
        if self._shared is not None:
            self._changed[key] = None

    # The shared count

    async def run(self) -> None:
        """Keep the shared count, for as long as any place may be taken."""
        assert self._shared is not None
        try:
            while True:
                if not self._changed or not self._answers:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(BEAT_SECONDS):
                            await self._wanted.wait()
                await self._exchange(self._shared)
                task = asyncio.current_task()
                if task is not None and task.cancelling():  # which `asyncio.wait_for` of Python 3.11 may have swallowed
                    raise asyncio.CancelledError
                await asyncio.sleep(GATHER_SECONDS)
        finally:
            self._go_alone()
            with contextlib.suppress(Exception):  # then it forgets this server soon
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._shared.leave()

    async def _exchange(self, shared: SharedCount) -> None:
        self._wanted.clear()
        self._is_giving_back = False
        anew = self._is_lost
        if anew:
            self._changed = dict.fromkeys(self._taken)
        entries = {key: self._entry(key) for key in islice({**self._waiting, **self._changed}, KEYS_A_BATCH)}
        for key in entries:
            self._changed.pop(key, None)
        self._is_lost = True  # unless it says that it is not
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                granted = await shared.exchange(entries, anew=anew)
        except Exception as error:  # of Redis, of its client, of a configuration that is not for it
            self._complain(error)
            self._go_alone()
            return
        self._answers = True
        if granted is None:
            self._wanted.set()
            return
        self._is_lost = False
        for (key, entry), places in zip(entries.items(), granted, strict=True):
            self._answer(key, entry.wanted, places)
        if self._waiting:
            self._wanted.set()

    def _entry(self, key: str) -> Entry:
        asking = self._waiting.get(key)
        return Entry(self._taken[key], len(asking), asking[-1][1]) if asking else Entry(self._taken[key])

    def _answer(self, key: str, asked: int, places: int) -> None:
        """Answer those who have asked for a key: the first get the places."""
        asking = self._waiting.pop(key, [])
        if asking[asked:]:
            self._waiting[key] = asking[asked:]
        for answer, _ in asking[:asked]:
            if answer.done():  # cancelled meanwhile
                self._changed[key] = None
            else:
                answer.set_result(places > 0)
                self._taken.update([key] if places > 0 else ())
            places -= 1

    def _go_alone(self) -> None:
        """Go by the own counts, also for those who wait."""
        self._answers = False
        waiting, self._waiting = self._waiting, {}
        for key, asking in waiting.items():
            for answer, limit in asking:
                if not answer.done():
                    answer.set_result(self._taken[key] < limit)
                    self._count(key, int(answer.result()))

    def _complain(self, error: Exception) -> None:
        """Log that the shared count does not answer: once, until it has."""
        if self._answers:
            logger.warning("Limits count in this process only, until Redis answers (%r)", error)

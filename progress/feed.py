"""The feeds of a process: which jobs are new or have changed their status, for dashboards.

A feed tells the latest state of each job that changed; it does not tell every change between.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from django.db import DatabaseError
from django.utils import timezone

from jobs import selectors
from jobs.access import policy, type_of_user
from jobs.threads import in_thread
from progress.conf import conf
from progress.connection import Connection
from progress.protocol import FeedName, feed, feed_entry

if TYPE_CHECKING:
    from jobs.models import ProcessingJob

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.05  # changes that come together are told together
RETRY_SECONDS = 1.0  # between two tries to read from a database that does not answer
FRAME_CHARACTERS = 262_144  # of one frame's entries: at four bytes each, what stock Daphne sends at most


class Entry(NamedTuple):
    """A job as a feed shows it, encoded once for all who see it."""

    job_id: str
    text: str


class FeedWatcher:
    """One connection's subscription to one feed."""

    def __init__(self, connection: Connection, user: type_of_user, name: FeedName) -> None:
        self.connection = connection
        self.user = user
        self.name = name
        self._held: list[list[Entry]] | None = []  # what comes before the first answer has been sent

    def first(self, entries: list[Entry]) -> None:
        """Send the first answer, then what has changed since it was read."""
        held, self._held = self._held or [], None
        recent = next(_batches(reversed(entries)), [])
        self._send(recent[::-1])
        for later in held:
            self.tell(later)

    def tell(self, entries: list[Entry]) -> None:
        """Send changes."""
        if self._held is not None:
            self._held.append(entries)
        else:
            for batch in _batches(entries):
                self._send(batch)

    def _send(self, entries: list[Entry]) -> None:
        self.connection.send(feed(self.name, [entry.text for entry in entries]))

    def sees(self, job: "ProcessingJob") -> bool:
        """Tell whether a job belongs to the feed. May use the database."""
        if self.name == "mine" and (self.user.pk is None or job.owner_id != self.user.pk):
            return False
        return policy().may_view(self.user, job)


class Feed:
    """Tells the watchers of feeds what has changed."""

    def __init__(self) -> None:
        self._watchers: dict[tuple[Connection, FeedName], FeedWatcher] = {}
        self._changed: set[str] = set()
        self._told: dict[str, tuple[str, datetime]] = {}  # the change of each job that was told last
        self._telling: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._is_due = False  # another sweep was asked for while one was under way
        self._beginning = asyncio.Lock()

    @property
    def is_watched(self) -> bool:
        """Whether anybody watches a feed."""
        return bool(self._watchers)

    async def add(self, connection: Connection, user: type_of_user, name: FeedName) -> None:
        """Let a connection watch a feed: the most recent jobs first, then every change."""
        watcher = FeedWatcher(connection, user, name)
        async with self._beginning:  # who comes second must not forget what the first has yet to be told
            if not self._watchers:
                self._told = {job_id: (epoch, at) for job_id, epoch, at in await self._changes()}
            self._watchers[connection, name] = watcher
        try:
            entries = await in_thread(_recent, user, name)
        except BaseException:
            self.remove(connection, name)
            raise
        watcher.first(entries)

    def remove(self, connection: Connection, name: FeedName | None = None) -> None:
        """Let a connection watch a feed no more, or none at all."""
        for key in [key for key in self._watchers if key[0] is connection and name in (None, key[1])]:
            del self._watchers[key]

    def stop(self) -> None:
        """Tell nothing more: nobody is left."""
        for task in (self._telling, self._sweeping):
            if task is not None:
                task.cancel()

    def mark(self, job_id: str) -> None:
        """Take note that a job has changed; it is told soon."""
        if self._watchers:
            self._changed.add(job_id)
            if self._telling is None or self._telling.done():
                self._telling = asyncio.ensure_future(self._tell())

    def sweep(self) -> None:
        """Look soon for changes that were not told; however often this is asked, once in each interval."""
        self._is_due = True
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.ensure_future(self._sweep())

    async def _sweep(self) -> None:
        while self._is_due and self._watchers:
            self._is_due = False
            try:
                await self._look_for_changes()
            except DatabaseError as error:
                self._is_due = True
                logger.warning("The feed can't be read (%s); trying again.", error)
            await asyncio.sleep(conf.SWEEP_SECONDS)

    async def _look_for_changes(self) -> None:
        recent = await self._changes()
        for job_id, epoch, changed_at in recent:
            if self._told.get(job_id) != (epoch, changed_at):
                self.mark(job_id)
        kept = {job_id for job_id, _, _ in recent} | self._changed
        self._told = {job_id: change for job_id, change in self._told.items() if job_id in kept}

    async def _changes(self) -> list[tuple[str, str, datetime]]:
        since = timezone.now() - timedelta(seconds=conf.FEED_OVERLAP_SECONDS)
        return await in_thread(selectors.jobs_changed_since, since)

    async def _tell(self) -> None:
        while self._changed and self._watchers:
            await asyncio.sleep(GATHER_SECONDS)
            changed, self._changed = self._changed, set()
            watchers = list(self._watchers.values())
            try:
                jobs, seen = await in_thread(_seen_by, watchers, changed)
            except DatabaseError as error:
                self._changed |= changed
                logger.warning("The feed can't be read (%s); trying again.", error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            # A sweep that read while this did may have asked for the same change once more.
            news = {job.pk for job in jobs if self._told.get(job.pk) != (job.epoch, job.status_changed_at)}
            self._told |= {job.pk: (job.epoch, job.status_changed_at) for job in jobs}
            for watcher, entries in zip(watchers, seen, strict=True):
                if self._watchers.get((watcher.connection, watcher.name)) is watcher:
                    watcher.tell([entry for entry in entries if entry.job_id in news])


def _recent(user: type_of_user, name: FeedName) -> list[Entry]:
    if name == "mine" and user.pk is None:
        return []
    jobs = selectors.recent_jobs(user, conf.FEED_JOBS, own=name == "mine")
    return [_entry(job) for job in reversed(jobs)]


def _seen_by(watchers: list[FeedWatcher], changed: Iterable[str]) -> "tuple[list[ProcessingJob], list[list[Entry]]]":
    """Read the changed jobs, and return them with what each watcher may see of them."""
    jobs = sorted(selectors.get_jobs(changed), key=lambda job: job.status_changed_at)
    entries = {job.pk: _entry(job) for job in jobs}
    return jobs, [[entries[job.pk] for job in jobs if watcher.sees(job)] for watcher in watchers]


def _entry(job: "ProcessingJob") -> Entry:
    return Entry(job.pk, feed_entry(job))


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Yield entries in batches that are each a frame."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        if batch and size + len(entry.text) > FRAME_CHARACTERS:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += len(entry.text)
    if batch:
        yield batch

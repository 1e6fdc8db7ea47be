"""The feeds of a process: which jobs are new or have changed their status, for dashboards.

A feed tells the latest state of each job that changed; it does not tell every change between.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from ..conf import conf
from ..protocol.frames import FeedName, feed, feed_entry
from ..source.store import access, selectors, type_of_user
from . import reads
from .connection import Connection

if TYPE_CHECKING:
    from ..source.store import ProcessingJob

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.05  # changes that come together are told together
POLICY_RETRY_SECONDS = 1.0  # before a policy that could not decide is asked again
CHANGES = 500  # of jobs, read at a time
FRAME_CHARACTERS = 262_144  # of one frame's entries: at four bytes each, what stock Daphne sends at most

Change = tuple[str, str, datetime]  # epoch, status, and when it came to that

Key = tuple[Connection, FeedName]


class FeedWatcher:
    """One socket's subscription to one feed."""

    def __init__(self, connection: Connection, user: type_of_user, name: FeedName) -> None:
        self.connection = connection
        self.user = user
        self.name = name
        self.is_answered = False
        self.owed: dict[str, None] = {}  # jobs that it could not be told of yet

    def answer(self, recent: list[str]) -> None:
        """Send the first answer: the latest that fit into a frame."""
        self.is_answered = True
        shown = next(_batches(reversed(recent)), [])
        self._send(shown[::-1], cut=len(shown) < len(recent))

    def tell(self, entries: list[str]) -> None:
        """Send changes."""
        for batch in _batches(entries):
            self._send(batch)

    def _send(self, entries: list[str], *, cut: bool = False) -> None:
        self.connection.send(feed(self.name, entries, cut=cut))

    def sees(self, job: "ProcessingJob") -> bool:
        """Tell whether a job belongs to the feed. May use the database, and raise what the policy does."""
        if self.name == "mine" and (self.user.pk is None or job.owner_id != self.user.pk):
            return False
        return access.may_view(self.user, job)


class Feed:
    """Tells the watchers of feeds what has changed, for as long as `run` runs."""

    def __init__(self) -> None:
        self._watchers: dict[Key, FeedWatcher] = {}
        self._changed: dict[str, None] = {}  # jobs to be looked at
        self._told: dict[str, Change] = {}  # the change of each job that was told last
        self._due = asyncio.Event()
        self._sweep_asked = False
        self._swept_at = float("-inf")
        self._beginning = asyncio.Lock()

    @property
    def is_watched(self) -> bool:
        """Whether anybody watches a feed."""
        return bool(self._watchers)

    async def add(self, connection: Connection, user: type_of_user, name: FeedName) -> None:
        """Let a socket watch a feed: the most recent jobs first, then every change.

        Raises:
            Exception: Whatever the database or the access policy raises; then it does not watch.

        """
        watcher = FeedWatcher(connection, user, name)
        async with self._beginning:  # who comes second must not forget what the first has yet to be told
            if not self._watchers:
                self._told = await self._changes()
            self._watchers[connection, name] = watcher
        try:
            entries, shown = await reads.in_thread(_recent, user, name)
        except BaseException:
            self.remove(connection, name)
            raise
        watcher.answer(entries)
        # What has changed since others were told is told again: by then it may be what it was before.
        watcher.owed |= {job_id: None for job_id, change in shown.items() if self._told.get(job_id, change) != change}
        self._due.set()  # for what came meanwhile

    def remove(self, connection: Connection, name: FeedName | None = None) -> None:
        """Let a socket watch a feed no more, or none at all."""
        for key in [key for key in self._watchers if key[0] is connection and name in (None, key[1])]:
            del self._watchers[key]
        if not self._watchers:
            self._changed.clear()
            self._told.clear()

    def mark(self, job_id: str) -> None:
        """Have a job looked at soon: it is new or has changed its status."""
        if self._watchers:
            self._changed[job_id] = None
            self._due.set()

    def sweep(self) -> None:
        """Look soon for changes of which no word came; however often this is asked, once in each interval."""
        if self._watchers:
            self._sweep_asked = True
            self._due.set()

    async def run(self) -> None:
        """Tell what changes.

        Raises:
            Error: The database does not answer; nothing is lost by it.

        """
        while True:
            await self._due.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._due.clear()
            try:
                await self._sweep_if_due()
                await self._tell()
            except Exception:
                self._sweep_asked = True
                self._due.set()
                raise

    async def _sweep_if_due(self) -> None:
        if not self._sweep_asked:
            return
        loop = asyncio.get_running_loop()
        early = self._swept_at + conf.SWEEP_SECONDS - loop.time()
        if early > 0:
            loop.call_later(early, self._due.set)
            return
        self._sweep_asked = False
        changes = await self._changes()
        self._swept_at = loop.time()
        self._changed |= {job_id: None for job_id, change in changes.items() if self._told.get(job_id) != change}
        self._told = {job_id: told for job_id, told in self._told.items() if job_id in changes}

    async def _changes(self) -> dict[str, Change]:
        """Return the last change of each job that has changed its status lately."""
        since = timezone.now() - timedelta(seconds=conf.FEED_OVERLAP_SECONDS)
        rows = await reads.in_thread(selectors.jobs_changed_since, since)
        return {job_id: (epoch, status, at) for job_id, epoch, status, at in rows}

    async def _tell(self) -> None:
        asked = {key: watcher for key, watcher in self._watchers.items() if watcher.is_answered}
        changed = dict.fromkeys(list(self._changed)[:CHANGES])
        wanted = changed | {job_id: None for watcher in asked.values() for job_id in watcher.owed}
        if not wanted:
            return
        for job_id in changed:
            del self._changed[job_id]  # what changes from here on has to be looked at again
        try:
            changes, entries, views = await reads.in_thread(_read, list(asked.values()), list(wanted))
        except Exception:
            self._changed = changed | self._changed
            raise
        # A sweep that read while this did may have asked for the same change once more.
        news = {job_id for job_id, change in changes.items() if self._told.get(job_id) != change}
        self._told |= changes
        for (key, watcher), (seen, owed) in zip(asked.items(), views, strict=True):
            if self._watchers.get(key) is watcher:
                watcher.tell([entries[job_id] for job_id in seen if job_id in news or job_id in watcher.owed])
                watcher.owed = dict.fromkeys(owed)
        self._go_on(asked, changed)

    def _go_on(self, asked: Mapping[Key, FeedWatcher], changed: Mapping[str, None]) -> None:
        """See to what is left: more changes, watchers who came meanwhile, those a policy could not decide on."""
        for key, watcher in self._watchers.items():
            if asked.get(key) is not watcher:
                watcher.owed |= changed  # what it was answered may be older than what was read
                self._due.set()
        if self._changed:
            self._due.set()
        elif any(watcher.owed for watcher in asked.values()):
            asyncio.get_running_loop().call_later(POLICY_RETRY_SECONDS, self._due.set)


# In a thread


def _recent(user: type_of_user, name: FeedName) -> tuple[list[str], dict[str, Change]]:
    if name == "mine" and user.pk is None:
        return [], {}
    jobs = selectors.recent_jobs(user, conf.FEED_JOBS, own=name == "mine")
    return list(_entries(reversed(jobs)).values()), _changes_of(jobs)


def _read(
    watchers: Sequence[FeedWatcher], job_ids: Sequence[str]
) -> tuple[dict[str, Change], dict[str, str], list[tuple[list[str], list[str]]]]:
    """Return jobs' last changes, what a feed shows of them, and for each watcher: whom it sees, and who knows."""
    found = reads.each(lambda some: {job.pk: job for job in selectors.get_jobs(some)}, job_ids)
    jobs = [job for job in found.values() if not isinstance(job, Exception)]
    jobs.sort(key=lambda job: job.status_changed_at)
    entries = _entries(jobs)
    shown = [job for job in jobs if job.pk in entries]
    return _changes_of(jobs), entries, [_view(watcher, shown) for watcher in watchers]


def _changes_of(jobs: "Iterable[ProcessingJob]") -> dict[str, Change]:
    return {job.pk: (job.epoch, job.status, job.status_changed_at) for job in jobs}


def _view(watcher: FeedWatcher, jobs: "Sequence[ProcessingJob]") -> tuple[list[str], list[str]]:
    seen, owed = [], []
    for job in jobs:
        try:
            if watcher.sees(job):
                seen.append(job.pk)
        except Exception as error:  # whatever the policy raises, it harms this watcher and job only
            owed.append(job.pk)
            logger.warning("The access policy can't decide on job %s: %r", job.pk, error)
    return seen, owed


def _entries(jobs: "Iterable[ProcessingJob]") -> dict[str, str]:
    """Return the jobs as a feed shows them, without those that can't be shown."""
    entries = {}
    for job in jobs:
        try:
            entries[job.pk] = feed_entry(job)
        except Exception as error:  # whatever is wrong with a row, it harms its own job only
            logger.warning("Job %s can't be shown: %r", job.pk, error)
    return entries


def _batches(entries: Iterable[str]) -> Iterator[list[str]]:
    """Yield entries in batches that are each a frame."""
    batch: list[str] = []
    size = 0
    for entry in entries:
        if batch and size + len(entry) > FRAME_CHARACTERS:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += len(entry)
    if batch:
        yield batch

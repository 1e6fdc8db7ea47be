"""The feeds of a process: which jobs are new or have changed their status, for dashboards.

A feed shows the latest state of each job that has changed, and not every change in between.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from ..conf import conf
from ..identity.rights import Rights, recent
from ..protocol.exceptions import job_not_found
from ..protocol.frames import FEEDS, FeedName, encode, error, feed_entry
from ..source.store import selectors
from . import reads
from .connection import Connection
from .feed_watcher import FeedWatcher

if TYPE_CHECKING:
    from ..source.store import ProcessingJob

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.05  # before changes are read, so that those that come together are sent together
POLICY_RETRY_SECONDS = 1.0  # before an access policy that failed is asked again
CHANGES = 500  # jobs that are read at a time
MAX_BAD = 1_000  # jobs that are remembered since they could not be shown; with more, all are tried again

Change = tuple[str, str, datetime]  # epoch, status, and when it came to that

Key = tuple[Connection, FeedName]


class Feed:
    """Sends the watchers of feeds what has changed, while `run` runs."""

    def __init__(self) -> None:
        self._watchers: dict[Key, FeedWatcher] = {}
        self._changed: dict[str, None] = {}  # jobs to be read, and sent to all who may see them
        self._sent: dict[str, Change] = {}  # the last change of each job that was read for all, so as to send it once
        self._bad: set[str] = set()  # jobs that could not be shown when they were read last
        self._due = asyncio.Event()  # there is something for `run` to do
        self._sweep_asked = False
        self._swept_at = float("-inf")
        self._beginning: reads.Shared[None, dict[str, Change]] = reads.Shared()  # what `_sent` is at first

    @property
    def is_watched(self) -> bool:
        """Whether anybody watches a feed."""
        return bool(self._watchers)

    async def add(self, connection: Connection, name: FeedName) -> None:
        """Let a socket watch a feed: the most recent jobs first, then every change.

        Raises:
            Exception: Whatever the database or the access policy raises; then it does not watch.

        """
        watcher = FeedWatcher(connection, name)
        if not self._watchers:
            changes = await self._beginning.once(None, self._changes)
            if not self._watchers:  # or the first would miss what came before a second read for itself
                self._sent = changes
        self._watchers[connection, name] = watcher
        try:
            entries, shown = await reads.in_thread(_recent, connection.identity.rights, name)
        except BaseException:
            self.remove(connection, name)
            raise
        watcher.answer(entries, shown)
        # Jobs whose state in its first frame is not what the others were sent last: a change back is news to it alone.
        watcher.owed |= {job_id: None for job_id, change in shown.items() if self._sent.get(job_id, change) != change}
        self._due.set()  # for what came meanwhile

    def remove(self, connection: Connection, name: FeedName | None = None) -> None:
        """End a socket's subscription to a feed, or to all feeds."""
        for key in [key for key in self._watchers if key[0] is connection and name in (None, key[1])]:
            del self._watchers[key]
        if not self._watchers:
            self._changed.clear()
            self._sent.clear()
            self._bad.clear()

    # Access, as the guard asks for it

    def shown_to(self, connection: Connection) -> list[str]:
        """Return the jobs that a connection was shown."""
        return [job_id for watcher in self._of(connection) for job_id in watcher.shown]

    def forget(self, connection: Connection, job_id: str) -> None:
        """Forget that a connection was shown a job."""
        for watcher in self._of(connection):
            watcher.shown.pop(job_id, None)

    def is_watched_by(self, connection: Connection) -> bool:
        """Return whether a connection watches a feed."""
        return bool(self._of(connection))

    def names_of(self, connection: Connection) -> list[FeedName]:
        """Return the feeds that a connection watches."""
        return [watcher.name for watcher in self._of(connection)]

    def owe(self, connection: Connection, name: FeedName, recent: Sequence[str]) -> None:
        """Send a connection those of its feed's most recent jobs that it was not shown: it may see them newly."""
        watcher = self._watchers.get((connection, name))
        if watcher is not None and watcher.owe([job_id for job_id in recent if job_id not in self._bad]):
            self._due.set()

    def _of(self, connection: Connection) -> list[FeedWatcher]:
        if not self._watchers:
            return []
        return [watcher for name in FEEDS if (watcher := self._watchers.get((connection, name))) is not None]

    # Changes

    def mark(self, job_id: str) -> None:
        """Have a job read soon, since it is new or has changed its status."""
        if self._watchers:
            self._changed[job_id] = None
            self._due.set()

    def sweep(self) -> None:
        """Have changes looked for that nobody marked, at most once in ``PROGRESS_SWEEP_SECONDS``."""
        if self._watchers:
            self._sweep_asked = True
            self._due.set()

    async def run(self) -> None:
        """Send what changes.

        Raises:
            Error: The database does not answer; nothing is lost by it.

        """
        while True:
            await self._due.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._due.clear()
            try:
                await self._sweep_if_due()
                await self._send_changes()
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
        self._changed |= {job_id: None for job_id, change in changes.items() if self._sent.get(job_id) != change}
        self._sent = {job_id: sent for job_id, sent in self._sent.items() if job_id in changes}

    async def _changes(self) -> dict[str, Change]:
        """Return the last change of each job that has changed its status lately."""
        since = timezone.now() - timedelta(seconds=conf.FEED_OVERLAP_SECONDS)
        rows = await reads.in_thread(selectors.jobs_changed_since, since)
        return {job_id: (epoch, status, at) for job_id, epoch, status, at in rows}

    async def _send_changes(self) -> None:
        """Read jobs that have changed, or are owed to a watcher, and send each to those who may see it."""
        asked = {key: watcher for key, watcher in self._watchers.items() if watcher.is_answered}
        changed = dict.fromkeys(list(self._changed)[:CHANGES])
        wanted = changed | {job_id: None for watcher in asked.values() for job_id in watcher.owed}
        if not wanted:
            return
        for job_id in changed:
            del self._changed[job_id]  # before it is read: what changes from here on has to be read again
        try:
            proofs = {watcher: watcher.connection.identity.proof for watcher in asked.values()}
            gone, changes, entries, views = await reads.in_thread(_read, list(asked.values()), list(wanted))
        except Exception:
            self._changed = changed | self._changed
            raise
        # Not what was sent before: a job is marked twice if a publication and a sweep show the same change.
        news = {job_id for job_id, change in changes.items() if self._sent.get(job_id) != change}
        self._sent |= changes
        others = self._bad - wanted.keys() if len(self._bad) < MAX_BAD else set()
        self._bad = others | (wanted.keys() - gone - entries.keys())
        self._tell_of_deletions(gone)
        for (key, watcher), (seen, owed) in zip(asked.items(), views, strict=True):
            if self._watchers.get(key) is not watcher:
                continue
            fresh = {job_id: entries[job_id] for job_id in seen if job_id in news or job_id in watcher.owed}
            if watcher.connection.identity.proof == proofs[watcher]:
                watcher.send_changes(fresh)
                watcher.still_owe(owed, asked=wanted)
            else:  # it is another user's by now, who has to be asked about
                watcher.owed |= changed
                self._due.set()
        self._go_on(asked, changed)

    def _tell_of_deletions(self, job_ids: set[str]) -> None:
        """Have jobs that are gone leave the lists that show them.

        Who watches such a job hears of it there: an error sent here would end what goes on there.
        """
        for job_id in job_ids:
            self._sent.pop(job_id, None)
        for watcher in list(self._watchers.values()) if job_ids else ():
            for job_id in job_ids & watcher.shown.keys():
                connection = watcher.connection
                if job_id not in connection.watched and job_id not in connection.pending:
                    connection.send(error(job_not_found(job_id)))
                self.forget(connection, job_id)

    def _go_on(self, asked: Mapping[Key, FeedWatcher], changed: Mapping[str, None]) -> None:
        """Have the rest done: more changes, watchers who came meanwhile, jobs on which a policy has failed."""
        for key, watcher in self._watchers.items():
            if asked.get(key) is not watcher:
                watcher.owed |= changed  # its first frame may be older than what was sent to the others
                self._due.set()
        if self._changed:
            self._due.set()
        elif any(watcher.owed for watcher in asked.values()):
            asyncio.get_running_loop().call_later(POLICY_RETRY_SECONDS, self._due.set)


# In a thread


def _recent(rights: Rights, name: FeedName) -> tuple[list[str], dict[str, Change]]:
    jobs = recent(rights, name, conf.FEED_JOBS)
    return list(_entries(reversed(jobs)).values()), _changes_of(jobs)


def _read(
    watchers: Sequence[FeedWatcher], job_ids: Sequence[str]
) -> tuple[set[str], dict[str, Change], dict[str, str], list[tuple[list[str], list[str]]]]:
    """Return which jobs are gone, the last changes of the others, their entries, and for each watcher what it sees.

    To that belong those jobs that it sees, and those that its policy failed on.
    """
    found = reads.each(lambda some: {job.pk: job for job in selectors.get_jobs(some)}, job_ids)
    jobs = [job for job in found.values() if not isinstance(job, Exception)]
    jobs.sort(key=lambda job: job.status_changed_at)
    entries = _entries(jobs)
    shown = [job for job in jobs if job.pk in entries]
    return set(job_ids) - found.keys(), _changes_of(jobs), entries, [_view(watcher, shown) for watcher in watchers]


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
            entries[job.pk] = encode(feed_entry(job))
        except Exception as error:  # whatever is wrong with a row, it harms its own job only
            logger.warning("Job %s can't be shown: %r", job.pk, error)
    return entries

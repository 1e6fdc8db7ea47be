"""The feeds of a process: which jobs are new or have changed their status, for dashboards.

A feed shows the latest state of each job that has changed, and not every change in between.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial

from ..conf import conf
from ..protocol.exceptions import job_not_found
from ..protocol.frames import FEEDS, FeedName, error
from . import reads
from .connection import Connection
from .feed_reads import Changes, read_changes, read_jobs, read_recent
from .feed_watcher import FeedWatcher

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.025  # before changes are read, so that those that come together are sent together
POLICY_RETRY_SECONDS = 1.0  # before an access policy that failed is asked again
CHANGES = 500  # jobs that are read at a time
LOOK_SECONDS = 0.5  # how far a look goes back; sweeps find what was committed later than that
SWEPT_A_SECOND = 2_000  # jobs, by sweeps where very many have changed lately: a fiftieth of the time at 10 µs each
MAX_BAD = 1_000  # jobs that are remembered since they could not be shown; with more, all are tried again

Key = tuple[Connection, FeedName]


class Feed:
    """Sends the watchers of feeds what has changed, while `run` runs."""

    def __init__(self) -> None:
        self._watchers: dict[Key, FeedWatcher] = {}
        self._changed: dict[str, None] = {}  # jobs to be read, and sent to all who may see them
        self._sent: Changes = {}  # the last change of each job that was read for all, so as to send it once
        self._bad: set[str] = set()  # jobs that could not be shown when they were read last
        self._due = asyncio.Event()  # there is something for `run` to do
        self._look_asked = False
        self._sweep_wanted = asyncio.Event()  # there is something for `run_sweeps` to do
        self._beginning: reads.Shared[None, tuple[Changes, list[str]]] = reads.Shared()  # what `_sent` is at first

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
            found, _ = await self._beginning.once(None, partial(self._changes, conf.FEED_OVERLAP_SECONDS))
            if not self._watchers:  # or the first would miss what came before a second read for itself
                self._sent = found
        self._watchers[connection, name] = watcher
        try:
            entries, shown = await reads.in_thread(read_recent, connection.identity.rights, name)
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
            self._sent = {}  # another, by which a sweep under way knows that it is of no use any more
            self._bad.clear()
            self._look_asked = False

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
        """Have changes looked for that nobody marked: at once for the latest, and in a sweep for all."""
        if self._watchers:
            self._look_asked = True
            self._due.set()
            self._sweep_wanted.set()

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
                await self._look_if_asked()
                await self._send_changes()
            except Exception:
                self.sweep()
                raise

    async def run_sweeps(self) -> None:
        """Look for what the looks of `run` have missed: what was committed later than they go back.

        Raises:
            Error: The database does not answer; nothing is lost by it.

        """
        loop = asyncio.get_running_loop()
        while True:
            await self._sweep_wanted.wait()
            self._sweep_wanted.clear()
            if not self._watchers:
                continue
            began, of_these, sent = loop.time(), self._sent, dict(self._sent)
            try:
                found, news = await self._changes(conf.FEED_OVERLAP_SECONDS)
            except Exception:
                self._sweep_wanted.set()
                raise
            if self._sent is of_these:  # or others watch by now, who were told at first what this has found
                for job_id in news:
                    self.mark(job_id)
                for job_id in sent.keys() - found.keys():
                    if self._sent.get(job_id) is sent[job_id]:
                        del self._sent[job_id]
            # By what there was to read, and not by how long it took: a database may be slow for a moment only.
            rest = min(len(found) / SWEPT_A_SECOND, conf.FEED_OVERLAP_SECONDS / 2)  # the next overlaps this one
            await asyncio.sleep(max(conf.SWEEP_SECONDS, loop.time() - began, rest))

    async def _look_if_asked(self) -> None:
        if self._look_asked:
            self._look_asked = False
            _, news = await self._changes(LOOK_SECONDS)
            for job_id in news:
                self.mark(job_id)

    async def _changes(self, seconds: float) -> tuple[Changes, list[str]]:
        """Return the last change of each job that has changed its status in so many seconds, and which are news."""
        return await reads.in_thread(read_changes, seconds, self._sent)

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
            viewers = [watcher.viewer for watcher in asked.values()]
            gone, changes, entries, views = await reads.in_thread(read_jobs, viewers, list(wanted))
        except Exception:
            self._changed = changed | self._changed
            raise
        # Not what was sent before: a job is marked twice if a publication and a sweep show the same change.
        news = {job_id for job_id, change in changes.items() if self._sent.get(job_id) != change}
        self._sent |= changes
        others = self._bad - wanted.keys() if len(self._bad) < MAX_BAD else set()
        self._bad = others | (wanted.keys() - gone - entries.keys())
        self._tell_of_deletions(gone)
        for (key, watcher), viewer, (seen, owed) in zip(asked.items(), viewers, views, strict=True):
            if self._watchers.get(key) is not watcher:
                continue
            fresh = {job_id: entries[job_id] for job_id in seen if job_id in news or job_id in watcher.owed}
            if watcher.connection.identity.proof == viewer.identity.proof:
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

"""The hub: one per process and event loop; all that a process watches goes through it.

It joins a job's group of the channel layer when the first local watcher comes, and hands each event
to every local watcher once, in order. What arrives through the channel layer is a publication: what is
missing, `progress.delivery.log_reader` reads from the log.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from django.db import Error

from ..broker import layers
from ..broker.messages import CHANGED, EVENTS, FEED_GROUP, Publication, encoded, job_group, publications_of
from ..broker.subscriber import Subscriber
from ..conf import conf
from ..protocol import frames
from ..protocol.exceptions import Refused, job_not_found, unavailable
from ..protocol.frames import FeedName
from ..protocol.position import Position
from ..source.store import type_of_user
from ..source.vocabulary import Event, EventKind, is_job_id
from .admission import admit
from .connection import Connection
from .feed import Feed
from .log_reader import LogReader
from .subscription import Subscription
from .watched_job import WatchedJob

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0  # before what was broken off is begun again
ARRIVALS_A_TURN = 128  # events of other threads, some 2 ms of work, before sockets have their turn


class Hub:
    """Follows the watched jobs and feeds, while at least one connection is there."""

    def __init__(self) -> None:
        self.jobs: dict[str, WatchedJob] = {}
        self.feed = Feed()
        self.connections: dict[Connection, None] = {}
        self.loop = asyncio.get_running_loop()
        self.subscriber: Subscriber | None = None
        self.reader = self._new_reader()
        self._tasks: set[asyncio.Future[None]] = set()  # while anybody is there
        self._farewells: set[asyncio.Future[None]] = set()  # of subscribers that are left
        self._arrived: deque[Event] = deque()  # from other threads
        self._is_called = False
        self._feeding = 0  # connections that are about to see a feed

    # Connections

    def enter(self, connection: Connection) -> None:
        """Take a connection in; the first starts the hub."""
        self.connections[connection] = None
        if len(self.connections) == 1:
            layer = layers.configured()
            self.reader = self._new_reader()  # nobody may wait for one that was stopped
            self.subscriber = None if layer is None else Subscriber(layer, self._receive, self.reader.sweep)
            for work in (self.reader.run, self.feed.run, self._beat):
                self._begin(_forever(work), self._tasks)

    def leave(self, connection: Connection) -> None:
        """Forget every trace of a connection; the last stops the hub."""
        connection.lost()
        if connection not in self.connections:
            return
        del self.connections[connection]
        for job_id in list(connection.watched):
            self.unsubscribe(connection, job_id)
        self.unfeed(connection)
        if not self.connections:
            self._stop()

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self.subscriber is not None:
            self._begin(self.subscriber.stop(), self._farewells)

    def _new_reader(self) -> LogReader:
        return LogReader(self.jobs, self._is_told, self.feed.sweep)

    def _begin(self, work: Awaitable[None], tasks: set[asyncio.Future[None]]) -> None:
        task = asyncio.ensure_future(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(conf.HEARTBEAT_SECONDS)
            beat = frames.heartbeat()
            for connection in list(self.connections):
                connection.send(beat)

    def _is_told(self) -> bool:
        """Tell whether the channel layer brings word of what other processes write."""
        return self.subscriber is not None and self.subscriber.is_whole

    # Subscriptions to jobs

    async def subscribe(
        self,
        connection: Connection,
        user: type_of_user,
        job_id: str,
        since: Position | None,
        *,
        logs: bool = False,
        is_addressed: bool = False,
    ) -> None:
        """Let a connection watch a job: what it missed, or a snapshot, then everything as it happens.

        Another subscription of the connection to the job is replaced. For one caller at a time and connection.

        Args:
            connection: Whose.
            user: On whose behalf.
            job_id: What the client calls the job.
            since: What it has seen of it.
            logs: Whether it wants log lines.
            is_addressed: Whether the connection has no purpose without it.

        Raises:
            Refused: There is no such job, it is not for this user, too many watch it already,
                the database does not answer, or the log has changed under a replay.

        """
        if not is_job_id(job_id):
            raise job_not_found(job_id)
        job = self.jobs.get(job_id)
        if job is None:
            job = self.jobs[job_id] = WatchedJob(job_id, self.reader.read, self._admit_again, self._drop)
        with job.in_demand():
            since = job.replace(connection, since, logs=logs)
            if self.subscriber is not None:
                await self.subscriber.join(job_group(job_id))
            subscription = Subscription(connection, user, logs=logs, is_addressed=is_addressed)
            await self._admit(job, subscription, since)

    def unsubscribe(self, connection: Connection, job_id: str) -> None:
        """Let a connection watch a job no more."""
        job = self.jobs.get(job_id)
        if job is not None:
            job.remove(connection)

    def _admit_again(self, job: WatchedJob, stopped: list[Subscription]) -> None:
        for subscription in stopped:
            self._begin(self._readmit(job, subscription), self._tasks)

    async def _readmit(self, job: WatchedJob, stopped: Subscription) -> None:
        with job.in_demand():
            try:
                await self._admit(job, stopped, stopped.stopped_at)
            except Refused as refused:
                job.turn_away(stopped, refused)

    async def _admit(self, job: WatchedJob, subscription: Subscription, since: Position | None) -> None:
        try:
            await admit(self.reader, job, subscription, since)
        except Error as error:
            logger.warning("Job %s can't be read: %s", job.job_id, error)
            raise unavailable(job.job_id) from error

    def _drop(self, job: WatchedJob) -> None:
        """Follow a job no more that nobody watches."""
        if self.jobs.get(job.job_id) is job:
            del self.jobs[job.job_id]
            if self.subscriber is not None:
                self.subscriber.leave(job_group(job.job_id))

    # Subscriptions to feeds

    async def subscribe_feed(self, connection: Connection, user: type_of_user, name: FeedName) -> None:
        """Let a connection see jobs come and change: the most recent, then each change.

        Raises:
            Refused: The database does not answer, or the access policy can't decide.

        """
        self._feeding += 1
        try:
            if self.subscriber is not None:
                await self.subscriber.join(FEED_GROUP)
            await self.feed.add(connection, user, name)
        except Exception as error:  # a policy may raise anything
            logger.warning("The feed can't be read: %r", error)
            raise unavailable(name) from error
        finally:
            self._feeding -= 1
            if connection not in self.connections:
                self.feed.remove(connection)
            self._leave_feed()

    def unfeed(self, connection: Connection, name: FeedName | None = None) -> None:
        """Let a connection see a feed, or any feed, no more."""
        self.feed.remove(connection, name)
        self._leave_feed()

    def _leave_feed(self) -> None:
        if not (self.feed.is_watched or self._feeding) and self.subscriber is not None:
            self.subscriber.leave(FEED_GROUP)

    # Events

    def wants(self, job_id: str, kind: EventKind) -> bool:
        """Tell whether an event would be of use; may be asked from any thread."""
        return job_id in self.jobs or (kind is EventKind.STATUS and self.feed.is_watched)

    def offer(self, publications: Sequence[Publication]) -> None:
        """Take events in, whoever brings them, however often, in whatever order.

        Those of one job that come together go out together.
        """
        by_job: dict[str, list[Publication]] = {}
        for publication in publications:
            by_job.setdefault(publication.job_id, []).append(publication)
            if publication.kind == EventKind.STATUS:
                self.feed.mark(publication.job_id)
        for job_id, offered in by_job.items():
            job = self.jobs.get(job_id)
            if job is not None and not job.offer(offered):
                logger.debug("An event of job %s is missing before %d", job_id, offered[-1].seq)
                self.reader.mark(job)

    def put(self, event: Event) -> None:
        """Offer an event from any thread; those that come before the event loop gets to them are taken together."""
        self._arrived.append(event)
        if not self._is_called and not self.loop.is_closed():
            self._is_called = True
            self.loop.call_soon_threadsafe(self._take_arrived)

    def _take_arrived(self) -> None:
        self._is_called = False  # before any is taken: an event that is put later calls again
        arrived: list[Event] = []
        while self._arrived and len(arrived) < ARRIVALS_A_TURN:
            arrived.append(self._arrived.popleft())
        if self._arrived:
            self.loop.call_soon(self._take_arrived)
        self.offer(encoded(arrived))

    def _receive(self, message: dict[str, Any]) -> None:
        """Take a message of the channel layer."""
        if message.get("type") == EVENTS:
            self.offer(publications_of(message))
        elif message.get("type") == CHANGED:
            for job_id in message["job_ids"]:
                self.feed.mark(job_id)


async def _forever(work: Callable[[], Awaitable[None]]) -> None:
    """Do what is to go on until it is cancelled: nothing that breaks it may leave those who watch behind for good."""
    while True:
        try:
            await work()
        except (Error, sqlite3.Error) as error:
            logger.warning("The database can't be read (%s); trying again.", error)
        except Exception:
            logger.exception("This should not happen; trying again.")
        await asyncio.sleep(RETRY_SECONDS)

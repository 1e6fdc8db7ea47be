"""The hub: one per process and event loop. All that is watched in the process goes through it.

It joins a job's group of the channel layer when the first watcher comes, and sends each event to every watcher once,
in order. The channel layer may lose events: what is missing, `progress.delivery.log_reader` reads from the log.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.db import Error

from ..broker import layers
from ..broker.messages import (
    ACCESS_CHANGED,
    ACCESS_GROUP,
    CHANGED,
    DELETED,
    EVENTS,
    FEED_GROUP,
    Publication,
    job_group,
    publications_of,
)
from ..broker.places import Places
from ..broker.subscriber import Subscriber
from ..conf import conf
from ..identity.limits import Allowances
from ..protocol import frames
from ..protocol.exceptions import Refused, job_not_found, unavailable
from ..protocol.frames import FeedName
from ..protocol.position import Position
from ..source.vocabulary import LISTED, EventKind, is_job_id
from . import hearing
from .access_guard import AccessGuard
from .admission import admit
from .arrivals import Arrivals
from .connection import Connection
from .feed import Feed
from .idle import IdleConnections, subscribing
from .log_reader import LogReader
from .subscription import Subscription
from .tasks import Tasks
from .watched_job import WatchedJob

logger = logging.getLogger(__name__)


class Hub:
    """Follows the watched jobs and feeds, while at least one connection is there."""

    def __init__(self) -> None:
        self.jobs: dict[str, WatchedJob] = {}
        self.feed = Feed()
        self.connections: dict[Connection, None] = {}
        self.loop = asyncio.get_running_loop()
        self.subscriber: Subscriber | None = None
        self.places = Places()
        self.misses = Allowances()  # of each client, of subscriptions to jobs that are not found
        self.reader = self._new_reader()
        self.idle = IdleConnections(self.connections, self.feed)
        self.guard = AccessGuard(self.connections, self.jobs, self.feed)
        self._tasks = Tasks()  # cancelled when the last connection leaves
        self._stopping = Tasks()  # of subscribers that are no longer used
        self.arrivals = Arrivals(self.loop, self.dispatch)
        self._feeds_pending = 0  # subscriptions to feeds that are being made

    # Connections

    def enter(self, connection: Connection) -> None:
        """Add a connection; the first starts the hub."""
        self.connections[connection] = None
        if len(self.connections) == 1:
            layer = layers.configured()
            self.reader = self._new_reader()  # nobody may wait for one that was stopped
            self.subscriber = None if layer is None else Subscriber(layer, self._receive, self.reader.sweep)
            shared = layers.shared_count(layer)
            self.places = Places(shared)
            feeds = self.feed.run, self.feed.run_sweeps
            for work in (self.reader.run, *feeds, self.guard.run, self.idle.run, self._send_heartbeats):
                self._tasks.keep_up(work)
            if layer is None:
                self._tasks.start(hearing.hear(self.reader.ring))
            self._tasks.start(self._join_group(ACCESS_GROUP))
            if shared is not None:
                self._tasks.keep_up(self.places.run)

    def leave(self, connection: Connection) -> None:
        """Remove a connection and its subscriptions; the last stops the hub."""
        connection.lost()
        if connection not in self.connections:
            return
        del self.connections[connection]
        for job_id in list(connection.watched):
            self.unsubscribe(connection, job_id)
        self.unsubscribe_feed(connection)
        if not self.connections:
            self._tasks.cancel()
            if self.subscriber is not None:
                self._stopping.start(self.subscriber.stop())

    def _new_reader(self) -> LogReader:
        return LogReader(self.jobs, self._layer_works, self.feed.sweep)

    async def _send_heartbeats(self) -> None:
        while True:
            await asyncio.sleep(conf.HEARTBEAT_SECONDS)
            heartbeat = frames.heartbeat()
            for connection in list(self.connections):
                connection.send(heartbeat)

    # The channel layer's groups

    async def _join_group(self, group: str) -> None:
        if self.subscriber is not None:
            await self.subscriber.join(group)

    def _leave_group(self, group: str) -> None:
        if self.subscriber is not None:
            self.subscriber.leave(group)

    def _layer_works(self) -> bool:
        """Return whether a channel layer works, and so brings what other processes write."""
        return self.subscriber is not None and self.subscriber.is_healthy

    # Subscriptions to jobs

    async def subscribe(
        self,
        connection: Connection,
        job_id: str,
        since: Position | None,
        *,
        logs: bool = False,
        output: bool = False,
        is_required: bool = False,
    ) -> None:
        """Let a connection watch a job: what it missed, or a snapshot, then everything as it happens.

        An earlier subscription of the connection to the job is replaced; two such calls must not overlap.

        Args:
            connection: Whose; its identity is who asks.
            job_id: What the client calls the job.
            since: What it has seen of it.
            logs: Whether it wants log lines.
            output: Whether it wants output.
            is_required: Whether the connection has no purpose without it.

        Raises:
            Refused: There is no such job, it is not for this user, too many watch it already,
                the database does not answer, or the log has changed under a replay.

        """
        if not is_job_id(job_id):
            raise job_not_found(job_id)
        job = self.jobs.get(job_id)
        if job is None:
            job = self.jobs[job_id] = WatchedJob(job_id, self.reader.read, self._resume_stopped, self._drop)
        with job.subscribing(), subscribing(connection, job_id):
            wants = frozenset([EventKind.LOG] * logs + [EventKind.OUTPUT] * output)
            subscription = Subscription(connection, wants=wants, is_required=is_required)
            await self._admit(job, subscription, job.replace(subscription, since))

    async def _admit(self, job: WatchedJob, subscription: Subscription, since: Position | None) -> None:
        group = job_group(job.job_id)
        is_joined = self.subscriber is None or self.subscriber.has_joined(group)
        join = None if is_joined else partial(self._join_group, group)
        try:
            with self._refusing(subscription, job.job_id):
                await admit(self.reader, self.places, job, subscription, since, join)
        finally:
            if job.subscriptions.get(subscription.connection) is not subscription:
                subscription.give_back_place(job.job_id)

    def unsubscribe(self, connection: Connection, job_id: str) -> None:
        """End a connection's subscription to a job, if it has one."""
        job = self.jobs.get(job_id)
        if job is not None:
            job.remove(connection)

    def _resume_stopped(self, job: WatchedJob, stopped: list[Subscription]) -> None:
        for subscription in stopped:
            self._tasks.start(self._resume(job, subscription))

    async def _resume(self, job: WatchedJob, stopped: Subscription) -> None:
        with job.subscribing():
            try:
                await self._admit(job, stopped, stopped.stopped_at)
            except Refused as refused:
                job.turn_away(stopped, refused)

    @contextmanager
    def _refusing(self, subscription: Subscription, job_id: str) -> Iterator[None]:
        """Turn a database error into `Refused`; have a job that may not be seen leave the feed, as it leaves a page."""
        try:
            yield
        except Error as error:
            logger.warning("Job %s can't be read: %s", job_id, error)
            raise unavailable(job_id) from error
        except Refused as refused:
            if not refused.temporary:
                self.feed.forget(subscription.connection, job_id)
            raise

    def _drop(self, job: WatchedJob) -> None:
        """Forget a job that nobody watches."""
        if self.jobs.get(job.job_id) is job:
            del self.jobs[job.job_id]
            self._leave_group(job_group(job.job_id))

    # Subscriptions to feeds

    async def subscribe_feed(self, connection: Connection, name: FeedName) -> None:
        """Let a connection watch a feed: the most recent jobs, then each that is new or changes its status.

        Raises:
            Refused: The database does not answer, or the access policy can't decide.

        """
        self._feeds_pending += 1
        try:
            with subscribing(connection, f"feed {name}"):
                await self._join_group(FEED_GROUP)
                await self.feed.add(connection, name)
        except Exception as error:  # a policy may raise anything
            logger.warning("The feed can't be read: %r", error)
            raise unavailable(name) from error
        finally:
            self._feeds_pending -= 1
            if connection not in self.connections:  # it has left meanwhile
                self.feed.remove(connection)
            self._leave_idle_feed()

    def unsubscribe_feed(self, connection: Connection, name: FeedName | None = None) -> None:
        """End a connection's subscription to a feed, or to all feeds."""
        self.feed.remove(connection, name)
        self._leave_idle_feed()

    def _leave_idle_feed(self) -> None:
        if not (self.feed.is_watched or self._feeds_pending):
            self._leave_group(FEED_GROUP)

    # Events

    def wants(self, job_id: str, kind: EventKind) -> bool:
        """Return whether an event would be of use; may be asked from any thread."""
        return job_id in self.jobs or (kind in LISTED and self.feed.is_watched)

    def compare(self, job_id: str) -> None:
        """Have a job compared with the database, from any thread, since it was deleted."""
        self._soon(self._compare, job_id)

    def _compare(self, job_id: str) -> None:
        job = self.jobs.get(job_id)
        if job is not None:
            self.reader.mark(job)
        self.feed.mark(job_id)

    def _receive(self, message: dict[str, Any]) -> None:
        """Dispatch what a message of the channel layer carries."""
        if message.get("type") == EVENTS:
            self.dispatch(publications_of(message))
        elif message.get("type") == CHANGED:
            for job_id in message["job_ids"]:
                self.feed.mark(job_id)
        elif message.get("type") == DELETED:
            self._compare(message["job_id"])
        elif message.get("type") == ACCESS_CHANGED:
            self.guard.hurry()

    def access_changed(self) -> None:
        """Have the guard ask soon, from any thread."""
        self._soon(self.guard.hurry)

    def _soon(self, work: Callable[..., None], *arguments: Any) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(work, *arguments)

    def dispatch(self, publications: Sequence[Publication]) -> None:
        """Give events to the jobs and feeds that are watched; they may come more than once and in any order.

        Those of one job that come together go out together.
        """
        by_job: dict[str, list[Publication]] = {}
        for publication in publications:
            by_job.setdefault(publication.job_id, []).append(publication)
            if publication.kind in LISTED:
                self.feed.mark(publication.job_id)
        for job_id, of_job in by_job.items():
            job = self.jobs.get(job_id)
            if job is not None and not job.offer(of_job):
                logger.debug("Job %s is to be read: there is more than its events up to %d", job_id, of_job[-1].seq)
                self.reader.mark(job)

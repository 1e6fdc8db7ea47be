"""The hub: one per process and event loop; all that a process watches goes through it.

It joins a job's group of the channel layer when the first local watcher comes, and hands each event
to every local watcher once, in order. What arrives through the channel layer is a hint: what is
missing, `progress.repair` reads from the log.
"""

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError

from jobs import selectors
from jobs.access import type_of_user
from jobs.bounds import is_job_id
from jobs.events import Event
from jobs.states import EventKind
from jobs.threads import in_thread
from progress import layers, protocol
from progress.codes import CloseCode, ErrorCode
from progress.conf import conf
from progress.connection import Connection
from progress.exceptions import Refused, job_not_found
from progress.feed import Feed
from progress.groups import FEED_GROUP, Hint, hint_of, hints_of, job_group
from progress.link import Link
from progress.protocol import FeedName, Frame, Position
from progress.repair import Repair
from progress.topic import Topic, pieces, visible

if TYPE_CHECKING:
    from jobs.models import ProcessingJob

logger = logging.getLogger(__name__)


class Hub:
    """Follows the watched jobs and feeds, while at least one connection is there."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self.feed = Feed()
        self.connections: set[Connection] = set()
        self.loop = asyncio.get_running_loop()
        self.link: Link | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.repair = Repair(self)
        self._arrived: deque[Event] = deque()  # from other threads
        self._is_called = False

    # Connections

    def enter(self, connection: Connection) -> None:
        """Take a connection in; the first starts the hub."""
        self.connections.add(connection)
        if not self._tasks:
            layer = layers.configured()
            self.link = None if layer is None else Link(layer, self._receive, self.repair.request)
            self._tasks = [_forever(self.repair.run()), _forever(self._beat_forever())]

    def leave(self, connection: Connection) -> None:
        """Forget every trace of a connection; the last stops the hub."""
        connection.lost()
        self.connections.discard(connection)
        for job_id in list(connection.watched):
            self.unsubscribe(connection, job_id)
        self.unfeed(connection)
        if not self.connections:
            self._stop()

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        self.feed.stop()
        if self.link is not None:
            self.link.stop()
            self.link = None

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(conf.HEARTBEAT_SECONDS)
            beat = protocol.heartbeat()
            for connection in list(self.connections):
                connection.send(beat)

    # Subscriptions to jobs

    async def subscribe(
        self, connection: Connection, user: type_of_user, job_id: str, since: Position | None, *, logs: bool = False
    ) -> None:
        """Let a connection watch a job: what it missed, or a snapshot, then everything as it happens.

        Raises:
            Refused: There is no such job, it is not for this user, too many watch it already,
                the database does not answer, or the log has changed under a replay.

        """
        if not is_job_id(job_id):
            raise job_not_found(job_id)
        topic = self.topics.get(job_id)
        if topic is None:
            topic = self.topics[job_id] = Topic(job_id)
        topic.begin()
        try:
            missed = await self._admit(connection, user, topic, since, logs=logs)
            # From here on nothing is awaited: no event can come between the answer and what follows it.
            if connection in self.connections and self.topics.get(job_id) is topic:
                self._attach(connection, user, topic, missed, logs=logs)
        except DatabaseError as error:
            logger.warning("Job %s can't be read: %s", job_id, error)
            raise Refused(ErrorCode.UNAVAILABLE, "The job can't be read now", subject=job_id) from error
        finally:
            topic.end()
            self._drop_if_idle(topic)

    def unsubscribe(self, connection: Connection, job_id: str) -> None:
        """Let a connection watch a job no more."""
        connection.watched.discard(job_id)
        topic = self.topics.get(job_id)
        if topic is not None:
            topic.remove(connection)
            self._drop_if_idle(topic)

    async def _admit(
        self, connection: Connection, user: type_of_user, topic: Topic, since: Position | None, *, logs: bool
    ) -> Sequence[Frame] | None:
        """Return what a user missed of a job that they may see, or the end of it."""
        while True:
            job = await self._load(topic)
            if not await topic.admits(user, job):
                raise job_not_found(topic.job_id)
            missed = None if since is None else await self._replay(connection, topic, since, logs=logs)
            if topic.job is job:
                return missed
            # Otherwise the job was made anew meanwhile, and the new one is another to decide about.

    def _attach(
        self, connection: Connection, user: type_of_user, topic: Topic, missed: Sequence[Frame] | None, *, logs: bool
    ) -> None:
        if len(topic) >= conf.MAX_WATCHERS_PER_JOB and topic.job_id not in connection.watched:
            raise Refused(
                ErrorCode.TOO_MANY_CONNECTIONS,
                "Too many are watching this job",
                subject=topic.job_id,
                close=CloseCode.TOO_MANY_CONNECTIONS,
            )
        topic.add(connection, user, logs=logs)
        connection.watched.add(topic.job_id)
        for piece in topic.answer(missed, logs=logs):
            connection.send_all(*piece)
        logger.debug("Job %s has %d watchers here", topic.job_id, len(topic))

    async def _replay(
        self, connection: Connection, topic: Topic, since: Position, *, logs: bool
    ) -> Sequence[Frame] | None:
        """Return what a client missed; of more than a piece the end, and the rest is sent as fast as it is taken.

        None if it can't be had whole, and nothing was sent.
        """
        if topic.stands and since.epoch == topic.stream.position.epoch and since.seq > topic.stream.position.seq:
            await self.repair.sync()  # the client has seen more than this process has: catch up with it first
        reached = since
        while (missed := await topic.missed_since(reached)) is not None:
            head, _ = next(pieces(missed), ([], b""))
            if reached.seq + len(head) == topic.stream.position.seq or not connection.is_accepting:
                return missed
            for piece in pieces(visible(head, logs=logs)):
                connection.send_all(*piece)
            await connection.ready()
            reached = Position(reached.epoch, reached.seq + len(head))
        if reached != since:
            sentence = "The job's events have changed while they were replayed"
            raise Refused(ErrorCode.UNAVAILABLE, sentence, subject=topic.job_id, close=CloseCode.RESYNC)
        return None

    async def _load(self, topic: Topic) -> "ProcessingJob":
        """Bring a topic to where its job stands, once for all who wait for it; return the job."""
        if not topic.stands:
            if topic.loading is None:
                topic.loading = asyncio.ensure_future(self._join_then_read(topic))
            await asyncio.shield(topic.loading)
        if topic.job is None:
            raise job_not_found(topic.job_id)
        return topic.job

    async def _join_then_read(self, topic: Topic) -> None:
        try:
            if self.link is not None:
                await self.link.join(job_group(topic.job_id))
            job = await in_thread(selectors.get_job, topic.job_id)
            if job is not None:
                topic.stand_at(job)
        finally:
            topic.loading = None
        if topic.touched:
            self.repair.request()

    def _drop_if_idle(self, topic: Topic) -> None:
        if topic.is_idle and self.topics.get(topic.job_id) is topic:
            del self.topics[topic.job_id]
            if self.link is not None:
                self.link.leave(job_group(topic.job_id))

    # Subscriptions to feeds

    async def subscribe_feed(self, connection: Connection, user: type_of_user, name: FeedName) -> None:
        """Let a connection see jobs come and change: the most recent, then each change.

        Raises:
            Refused: The database does not answer.

        """
        try:
            if self.link is not None:
                await self.link.join(FEED_GROUP)
            await self.feed.add(connection, user, name)
        except DatabaseError as error:
            logger.warning("The feed can't be read: %s", error)
            raise Refused(ErrorCode.UNAVAILABLE, "The jobs can't be read now", subject=name) from error
        if connection not in self.connections:
            self.unfeed(connection)

    def unfeed(self, connection: Connection, name: FeedName | None = None) -> None:
        """Let a connection see a feed, or any feed, no more."""
        self.feed.remove(connection, name)
        if not self.feed.is_watched and self.link is not None:
            self.link.leave(FEED_GROUP)

    # Events

    def wants(self, job_id: str, kind: EventKind) -> bool:
        """Tell whether an event would be of use; may be asked from any thread."""
        return job_id in self.topics or (kind is EventKind.STATUS and self.feed.is_watched)

    def offer(self, hint: Hint) -> None:
        """Take an event in, whoever brings it, however often, in whatever order."""
        self.offer_all([hint])

    def offer_all(self, hints: Sequence[Hint]) -> None:
        """Take events in; those of one job that come together go out together."""
        by_job: dict[str, list[Hint]] = {}
        for hint in hints:
            by_job.setdefault(hint.job_id, []).append(hint)
            if hint.kind == EventKind.STATUS:
                self.feed.mark(hint.job_id)
        for job_id, offered in by_job.items():
            topic = self.topics.get(job_id)
            if topic is not None and not topic.offer(offered):
                logger.debug("An event of job %s is missing before %d", job_id, offered[-1].seq)
                self.repair.request()

    def put(self, event: Event) -> None:
        """Offer an event from any thread; those that come before the event loop gets to them are taken together."""
        self._arrived.append(event)
        if not self._is_called and not self.loop.is_closed():
            self._is_called = True
            self.loop.call_soon_threadsafe(self._take_arrived)

    def _take_arrived(self) -> None:
        self._is_called = False  # first: what is put from here on either is taken below or calls again
        arrived = []
        while self._arrived:
            arrived.append(hint_of(self._arrived.popleft()))
        self.offer_all(arrived)

    def _receive(self, message: dict[str, Any]) -> None:
        """Take a message of the channel layer."""
        if message.get("type") == "job.events":
            self.offer_all(hints_of(message))
        elif message.get("type") == "jobs.changed":
            for job_id in message["job_ids"]:
                self.feed.mark(job_id)


def _forever(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Return a task that is to run until it is cancelled; if it breaks, the log says so."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(_complain)
    return task


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("The hub is broken; restart this server.", exc_info=error)


# The hubs of this process

_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}
_lock = threading.Lock()


def current() -> Hub:
    """Return the hub of the running event loop."""
    loop = asyncio.get_running_loop()
    with _lock:
        hub = _hubs.get(loop)
        if hub is None:
            for closed in [each for each in _hubs if each.is_closed()]:
                del _hubs[closed]
            hub = _hubs[loop] = Hub()
        return hub


def interested(job_id: str, kind: EventKind) -> list[Hub]:
    """Return the hubs of this process to which an event is of use; from any thread."""
    if not _hubs:
        return []
    with _lock:
        return [hub for hub in _hubs.values() if hub.wants(job_id, kind)]


def _after_fork() -> None:
    # The parent's event loops do not run in the child, which must not write to their wake-up pipes either.
    global _lock
    _lock = threading.Lock()
    _hubs.clear()


os.register_at_fork(after_in_child=_after_fork)

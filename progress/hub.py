"""The hub: one per process and event loop; all that a process watches goes through it.

It joins a job's group of the channel layer when the first local watcher comes, follows the job's log,
and hands each event to every local watcher once, in order. What arrives through the channel layer is
a hint: `sync` compares the position of every watched job with the log and reads what is missing.
"""

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, InterfaceError

from jobs import selectors
from jobs.access import policy, type_of_user
from jobs.bounds import is_job_id
from jobs.states import EventKind
from jobs.threads import in_thread
from progress import layers, protocol
from progress.codes import CloseCode, ErrorCode
from progress.conf import conf
from progress.connection import Connection
from progress.exceptions import Refused
from progress.feed import Feed
from progress.groups import FEED_GROUP, Hint, hint_of, hints_of, job_group
from progress.link import Link
from progress.protocol import FeedName, Frame, Position
from progress.topic import Topic
from progress.wakeups import DataVersion

if TYPE_CHECKING:
    from jobs.models import ProcessingJob

logger = logging.getLogger(__name__)

PAGE = 1_000  # events read from the log at once
RETRY_SECONDS = 1.0  # between two tries to read from a database that does not answer


class Hub:
    """Follows the watched jobs and feeds, while at least one connection is there."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self.feed = Feed()
        self.connections: set[Connection] = set()
        self.loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._due = asyncio.Event()  # a gap shows: sync now
        self._syncing = asyncio.Lock()

    # Connections

    def enter(self, connection: Connection) -> None:
        """Take a connection in; the first starts the hub."""
        self.connections.add(connection)
        if not self._tasks:
            layer = layers.configured()
            self._link = None if layer is None else Link(layer, self._receive)
            self._tasks = [_forever(self._repair_forever()), _forever(self._beat_forever())]

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
        if self._link is not None:
            self._link.stop()
            self._link = None

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
            Refused: There is no such job, it is not for this user, too many watch it already, or
                the database does not answer.

        """
        if not is_job_id(job_id):
            raise not_found(job_id)
        topic = self.topics.get(job_id)
        if topic is None:
            topic = self.topics[job_id] = Topic(job_id)
        topic.users += 1
        try:
            missed = await self._admit(topic, user, since)
            # From here on nothing is awaited: no event can come between the answer and what follows it.
            if connection in self.connections and self.topics.get(job_id) is topic:
                self._attach(connection, user, topic, missed, logs=logs)
        except DatabaseError as error:
            logger.warning("Job %s can't be read: %s", job_id, error)
            raise Refused(ErrorCode.UNAVAILABLE, "The job can't be read now", subject=job_id) from error
        finally:
            topic.users -= 1
            self._drop_if_idle(topic)

    def unsubscribe(self, connection: Connection, job_id: str) -> None:
        """Let a connection watch a job no more."""
        connection.watched.discard(job_id)
        topic = self.topics.get(job_id)
        if topic is not None:
            topic.remove(connection)
            self._drop_if_idle(topic)

    async def _admit(self, topic: Topic, user: type_of_user, since: Position | None) -> list[Frame] | None:
        """Return what a user missed of a job that they may see."""
        while True:
            job = await self._load(topic)
            if not await in_thread(_may_view, user, job):
                raise not_found(topic.job_id)
            missed = None if since is None else await self._missed(topic, since)
            if topic.job is job:
                return missed
            # Otherwise the job was made anew meanwhile, and the new one is another to decide about.

    def _attach(
        self, connection: Connection, user: type_of_user, topic: Topic, missed: list[Frame] | None, *, logs: bool
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
        for frame in missed or ():
            if logs or frame.subject:
                connection.send(frame)
        connection.send(topic.stream.snapshot(recovered=missed is not None))
        logger.debug("Job %s has %d watchers here", topic.job_id, len(topic))

    async def _missed(self, topic: Topic, since: Position) -> list[Frame] | None:
        if topic.stands and since.epoch == topic.stream.position.epoch and since.seq > topic.stream.position.seq:
            await self.sync()  # the client has seen more than this process has: catch up with it first
        return await topic.missed_since(since)

    async def _load(self, topic: Topic) -> "ProcessingJob":
        """Bring a topic to where its job stands, once for all who wait for it; return the job."""
        if not topic.stands:
            if topic.loading is None:
                topic.loading = asyncio.ensure_future(self._join_then_read(topic))
            await asyncio.shield(topic.loading)
        if topic.job is None:
            raise not_found(topic.job_id)
        return topic.job

    async def _join_then_read(self, topic: Topic) -> None:
        try:
            if self._link is not None:
                await self._link.join(job_group(topic.job_id))
            job = await in_thread(selectors.get_job, topic.job_id)
            if job is not None:
                topic.stand_at(job)
        finally:
            topic.loading = None
        if topic.touched:
            self._due.set()

    def _drop_if_idle(self, topic: Topic) -> None:
        if topic.is_idle and self.topics.get(topic.job_id) is topic:
            del self.topics[topic.job_id]
            if self._link is not None:
                self._link.leave(job_group(topic.job_id))

    # Subscriptions to feeds

    async def subscribe_feed(self, connection: Connection, user: type_of_user, name: FeedName) -> None:
        """Let a connection see jobs come and change: the most recent, then each change.

        Raises:
            Refused: The database does not answer.

        """
        try:
            if self._link is not None:
                await self._link.join(FEED_GROUP)
            await self.feed.add(connection, user, name)
        except DatabaseError as error:
            logger.warning("The feed can't be read: %s", error)
            raise Refused(ErrorCode.UNAVAILABLE, "The jobs can't be read now", subject=name) from error
        if connection not in self.connections:
            self.unfeed(connection)

    def unfeed(self, connection: Connection, name: FeedName | None = None) -> None:
        """Let a connection see a feed, or any feed, no more."""
        self.feed.remove(connection, name)
        if not self.feed.is_watched and self._link is not None:
            self._link.leave(FEED_GROUP)

    # Events

    def wants(self, job_id: str, kind: EventKind) -> bool:
        """Tell whether an event would be of use; may be asked from any thread."""
        return job_id in self.topics or (kind is EventKind.STATUS and self.feed.is_watched)

    def offer(self, hint: Hint) -> None:
        """Take an event in, whoever brings it, however often, in whatever order."""
        if hint.kind == EventKind.STATUS:
            self.feed.mark(hint.job_id)
        topic = self.topics.get(hint.job_id)
        if topic is not None and not topic.offer(hint):
            logger.debug("An event of job %s is missing before %d", hint.job_id, hint.seq)
            self._due.set()

    def _receive(self, message: dict[str, Any]) -> None:
        """Take a message of the channel layer."""
        if message.get("type") == "job.events":
            for hint in hints_of(message):
                self.offer(hint)
        elif message.get("type") == "jobs.changed":
            for job_id in message["job_ids"]:
                self.feed.mark(job_id)

    # Repair

    async def _repair_forever(self) -> None:
        while True:
            try:
                await self._repair()
            except Exception as error:  # whatever it is, those who watch must not be left behind for good
                is_ours = not isinstance(error, DatabaseError | InterfaceError | sqlite3.Error)
                logger.warning("The log can't be read (%s); trying again.", error, exc_info=is_ours)
                await asyncio.sleep(RETRY_SECONDS)

    async def _repair(self) -> None:
        version = DataVersion.of_database()
        try:
            self._due.set()  # for what was written before the counter was first read
            while True:
                await self._until_due(version)
                await self.sync()
        finally:
            if version is not None:
                version.close()

    async def _until_due(self, version: DataVersion | None) -> None:
        """Wait until the log should be compared: something was written, a gap shows, or some time has gone by."""
        if self._link is not None:
            await self._link.settle()
            if self._link.is_whole:
                await self._pause(conf.SYNC_SECONDS)
                return
        if version is None:
            await self._pause(conf.SWEEP_SECONDS)
            return
        while not (self._due.is_set() or version.has_changed()):
            await self._pause(conf.POLL_SECONDS)

    async def _pause(self, seconds: float) -> None:
        """Wait, unless a gap shows."""
        try:
            async with asyncio.timeout(seconds):
                await self._due.wait()
        except TimeoutError:
            return

    async def sync(self) -> None:
        """Compare the position of every watched job with the log, and read what is missing.

        Raises:
            DatabaseError: The log can't be read; nothing is lost by it.

        """
        async with self._syncing:
            self._due.clear()
            standing = {job_id: topic for job_id, topic in self.topics.items() if topic.stands}
            found = await in_thread(selectors.positions, list(standing))
            for job_id, topic in standing.items():
                await self._compare(topic, found.get(job_id))
            await self._read_missing(found)
            await self.feed.sweep()

    async def _compare(self, topic: Topic, found: tuple[str, int] | None) -> None:
        """Deal with a job that is gone, or was made anew."""
        if found is None or found[0] != topic.stream.position.epoch:
            await self._stand_anew(topic)

    async def _stand_anew(self, topic: Topic) -> None:
        """Stand where the job stands now, whatever was before."""
        job = await in_thread(selectors.get_job, topic.job_id)
        if job is None or job.epoch != topic.stream.position.epoch:
            await self._bar(topic, job)
        if job is None:
            topic.fall()
        elif job.epoch != topic.stream.position.epoch or job.seq > topic.stream.position.seq:
            topic.stand_at(job)

    async def _bar(self, topic: Topic, job: "ProcessingJob | None") -> None:
        """Turn those away who may not see what has taken the place of the job that they watched."""
        asked: set[tuple[Connection, type_of_user]] = set()
        while new := topic.watchers.items() - asked:
            asked |= new
            for connection in await in_thread(_barred, new, job):
                if connection in topic.watchers:
                    connection.send(protocol.error(not_found(topic.job_id)))
                    self.unsubscribe(connection, topic.job_id)

    async def _read_missing(self, reached: dict[str, tuple[str, int]]) -> None:
        """Read events until every topic stands where its job stood."""
        while behind := self._behind(reached):
            positions = {job_id: topic.stream.position for job_id, topic in behind.items()}
            events = await in_thread(selectors.events_after, positions, PAGE)
            for event in events:
                self.offer(hint_of(event))
            # A full page may hold one job's events only; otherwise every job should have moved.
            should_move = {events[0].job_id} if len(events) == PAGE else set(behind)
            for job_id in should_move:
                topic = behind[job_id]
                if self.topics.get(job_id) is topic and topic.stream.position == positions[job_id]:
                    await self._stand_anew(topic)  # the events up to there are no longer kept

    def _behind(self, reached: dict[str, tuple[str, int]]) -> dict[str, Topic]:
        """Return the topics that stand before where their jobs stood, as many as one query takes."""
        behind: dict[str, Topic] = {}
        for job_id, (epoch, seq) in reached.items():
            topic = self.topics.get(job_id)
            if topic is None or not topic.stands or topic.stream.position.epoch != epoch:
                continue
            if topic.stream.position.seq < seq:
                behind[job_id] = topic
                if len(behind) == selectors.MAX_CURSORS:
                    break
        return behind


def _forever(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Return a task that is to run until it is cancelled; if it breaks, the log says so."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(_complain)
    return task


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("The hub is broken; restart this server.", exc_info=error)


def _may_view(user: type_of_user, job: "ProcessingJob") -> bool:
    return policy().may_view(user, job)


def _barred(watchers: Iterable[tuple[Connection, type_of_user]], job: "ProcessingJob | None") -> list[Connection]:
    return [connection for connection, user in watchers if job is None or not _may_view(user, job)]


def not_found(job_id: str) -> Refused:
    """Return the refusal of a job that does not exist or is hidden: the same in both cases."""
    return Refused(ErrorCode.JOB_NOT_FOUND, "Job not found", subject=job_id[:64])


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


def tell(hub: Hub, hint: Hint) -> None:
    """Offer an event to a hub, from any thread."""
    if not hub.loop.is_closed():
        hub.loop.call_soon_threadsafe(hub.offer, hint)


def _after_fork() -> None:
    # The parent's event loops do not run in the child, which must not write to their wake-up pipes either.
    global _lock
    _lock = threading.Lock()
    _hubs.clear()


os.register_at_fork(after_in_child=_after_fork)

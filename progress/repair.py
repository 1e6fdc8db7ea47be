"""Repair: what a process has missed of the jobs that are watched in it is read from the log.

One mechanism with three cadences: at once when a gap shows; every few seconds behind a channel layer that
works; and without one, as the way in which events of other processes get here.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.db import DatabaseError, InterfaceError

from jobs import selectors
from jobs.access import policy, type_of_user
from jobs.threads import in_thread
from progress import protocol
from progress.conf import conf
from progress.connection import Connection
from progress.exceptions import job_not_found
from progress.groups import hint_of
from progress.topic import Topic
from progress.wakeups import DataVersion

if TYPE_CHECKING:
    from jobs.models import ProcessingJob
    from progress.hub import Hub

logger = logging.getLogger(__name__)

PAGE = 1_000  # events read from the log at once
RETRY_SECONDS = 1.0  # between two tries to read from a database that does not answer


class Repair:
    """Compares the position of every watched job with the log, and reads what is missing."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self.due = asyncio.Event()  # compare now
        self._syncing = asyncio.Lock()

    def request(self) -> None:
        """Ask for a comparison now: a gap shows."""
        self.due.set()

    async def run(self) -> None:
        """Repair for as long as anybody watches."""
        while True:
            try:
                await self._follow()
            except Exception as error:  # whatever it is, those who watch must not be left behind for good
                is_ours = not isinstance(error, DatabaseError | InterfaceError | sqlite3.Error)
                logger.warning("The log can't be read (%s); trying again.", error, exc_info=is_ours)
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        version = DataVersion.of_database()
        try:
            self.due.set()  # for what was written before the counter was first read
            while True:
                await self._until_due(version)
                await self.sync()
        finally:
            if version is not None:
                version.close()

    async def _until_due(self, version: DataVersion | None) -> None:
        """Wait until the log should be compared: something was written, a gap shows, or some time has gone by."""
        if self._hub.link is not None and self._hub.link.is_whole:
            await self._pause(conf.SYNC_SECONDS)
            return
        if version is None:
            await self._pause(conf.SWEEP_SECONDS)
            return
        while not (self.due.is_set() or version.has_changed()):
            await self._pause(conf.POLL_SECONDS)

    async def _pause(self, seconds: float) -> None:
        """Wait, unless a gap shows."""
        try:
            async with asyncio.timeout(seconds):
                await self.due.wait()
        except TimeoutError:
            return

    async def sync(self) -> None:
        """Compare the position of every watched job with the log, and read what is missing.

        Raises:
            DatabaseError: The log can't be read; nothing is lost by it.

        """
        async with self._syncing:
            self.due.clear()
            standing = {job_id: topic for job_id, topic in self._hub.topics.items() if topic.stands}
            found = await in_thread(selectors.positions, list(standing))
            for job_id, topic in standing.items():
                await self._compare(topic, found.get(job_id))
            await self._read_missing(found)
            self._hub.feed.sweep()

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
                    connection.send(protocol.error(job_not_found(topic.job_id)))
                    self._hub.unsubscribe(connection, topic.job_id)

    async def _read_missing(self, reached: dict[str, tuple[str, int]]) -> None:
        """Read events until every topic stands where its job stood."""
        while behind := self._behind(reached):
            positions = {job_id: topic.stream.position for job_id, topic in behind.items()}
            events = await in_thread(selectors.events_after, positions, PAGE)
            self._hub.offer_all([hint_of(event) for event in events])
            # A full page may hold one job's events only; otherwise every job should have moved.
            should_move = {events[0].job_id} if len(events) == PAGE else set(behind)
            for job_id in should_move:
                topic = behind[job_id]
                if self._hub.topics.get(job_id) is topic and topic.stream.position == positions[job_id]:
                    await self._stand_anew(topic)  # the events up to there are no longer kept

    def _behind(self, reached: dict[str, tuple[str, int]]) -> dict[str, Topic]:
        """Return the topics that stand before where their jobs stood, as many as one query takes."""
        behind: dict[str, Topic] = {}
        for job_id, (epoch, seq) in reached.items():
            topic = self._hub.topics.get(job_id)
            if topic is None or not topic.stands or topic.stream.position.epoch != epoch:
                continue
            if topic.stream.position.seq < seq:
                behind[job_id] = topic
                if len(behind) == selectors.MAX_CURSORS:
                    break
        return behind


def _barred(watchers: Iterable[tuple[Connection, type_of_user]], job: "ProcessingJob | None") -> list[Connection]:
    return [connection for connection, user in watchers if job is None or not policy().may_view(user, job)]

"""A job, its log and all that may happen to them, in memory: the world in which `test_interleaving.py` subscribes."""

import asyncio
import random
from datetime import UTC, datetime
from typing import Any
from unittest import mock

from jobs.events import Event
from jobs.models import JobEvent, ProcessingJob
from jobs.selectors import Head
from jobs.states import EventKind
from progress.broker.messages import publication_of
from progress.conf import conf
from progress.delivery.hub import Hub

AT = datetime(2026, 1, 1, tzinfo=UTC)
JOB = "job-1"

ACTIONS = ["tick", "tick", "status", "stage", "log", "bring", "bring", "repeat"]
BREAKS = ["prune", "anew"]  # after which a client can't have every event


class World:
    """A job, its log, and the publications that are under way."""

    def __init__(self, chance: random.Random, *, has_layer: bool) -> None:
        self.chance = chance
        self.has_layer = has_layer
        self.actions = ACTIONS + BREAKS * (chance.random() < 0.5)
        self.writes = 0
        self.quiet = False
        self.streams = 0
        self.hub: Hub | None = None
        self.publications: list[Any] = []  # on their way
        self.past: list[Any] = []  # all there ever were
        self.begin()

    def begin(self) -> None:
        """Make the job, anew."""
        self.streams += 1
        self.log: list[Event] = []
        self.pruned = 0
        self.job = ProcessingJob(id=JOB, public=True, epoch=f"e{self.streams}", updated_at=AT)
        self.commit(EventKind.STATUS)

    def commit(self, kind: EventKind) -> None:
        self.writes += 1
        job = self.job
        job.seq += 1
        is_log = kind is EventKind.LOG
        if not is_log:
            job.message = f"{job.epoch} at {job.seq}"
        text, metadata = (f"line {job.seq}", {"level": "info"}) if is_log else (job.message, {})
        event = Event(JOB, job.epoch, job.seq, kind, job.status, job.progress, text, metadata, AT)
        self.log.append(event)
        self.publications.append(publication_of(event))
        self.past.append(publication_of(event))

    def act(self, action: str) -> None:
        if action in ("bring", "repeat") and not self.has_layer:
            return
        if action == "bring" and self.publications:
            self.offer(self.publications.pop(self.chance.randint(0, len(self.publications) - 1)))
        elif action == "repeat":
            self.offer(self.chance.choice(self.past))
        elif action == "prune":
            self.writes += 1
            self.pruned = self.chance.randint(self.pruned, self.job.seq)
        elif action == "anew":
            self.begin()
        elif action in set(EventKind):
            self.commit(EventKind(action))

    def offer(self, publication: Any) -> None:
        if self.hub is not None:
            self.hub.dispatch([publication])

    def some_actions(self, most: int) -> list[str]:
        return [self.chance.choice(self.actions) for _ in range(self.chance.randint(0, most))]

    async def moment(self) -> None:
        """A point where others may run and things may happen."""
        if self.quiet:
            await asyncio.sleep(0)
            return
        for action in self.some_actions(3):
            self.act(action)
        for _ in range(self.chance.randint(0, 3)):
            await asyncio.sleep(0)

    async def in_thread(self, function: Any, *args: Any) -> Any:
        """Stand in for the thread pool: what is read is of one moment, and is there at a later one."""
        await self.moment()
        result = function(*args)
        await self.moment()
        return result

    @property
    def is_whole(self) -> bool:
        """Whether every event could be had at any time."""
        return not self.pruned and self.streams == 1 and self.job.seq <= conf.REPLAY_EVENTS

    # The log, as the selectors show it

    def kept(self) -> list[Event]:
        return [event for event in self.log if event.seq > self.pruned]

    def get_jobs(self, job_ids: Any) -> list[ProcessingJob]:
        fields = ("id", "public", "status", "message", "progress", "epoch", "seq", "updated_at")
        return [ProcessingJob(**{field: getattr(self.job, field) for field in fields}) for _ in job_ids]

    def heads(self, job_ids: Any) -> Any:
        return dict.fromkeys(job_ids, Head(self.job.epoch, self.job.seq, self.job.updated_at, None, True, ""))

    def last_begin(self, *_: Any) -> None:
        return None

    def first_events(self, job_id: str, span: Any, kind: str, most: int, size: int) -> tuple[list[Any], int]:
        lines = [event for event in self.log if event.kind == kind and span.after < event.seq <= span.upto]
        lines = [event for event in lines if event.epoch == span.epoch]
        upto = span.upto if len(lines) <= most else lines[most].seq - 1
        return [_stored(event) for event in lines[:most]], upto

    def events_between(self, spans: Any) -> Any:
        (span,) = spans.values()
        kept = [event for event in self.kept() if event.epoch == span.epoch and span.after < event.seq <= span.upto]
        return {JOB: [_stored(event) for event in kept]}


def _stored(event: Event) -> Any:
    return mock.Mock(spec_set=JobEvent, seq=event.seq, as_event=lambda _: event)


class Counter:
    """The change counter of the world's database."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen = world.writes

    def has_changed(self) -> bool:
        before, self.seen = self.seen, self.world.writes
        return self.seen != before

    def close(self) -> None:
        pass

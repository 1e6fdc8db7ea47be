"""A client that subscribes at any moment of a running job, whatever the channel layer does, sees what the log says.

The log is in memory here, and each of the hub's reads is a point at which anything may happen: events
are committed, the channel layer brings, repeats, reorders or loses hints, old events are pruned, the
job is made anew. Hypothesis chooses.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any
from unittest import mock

from django.contrib.auth.models import AnonymousUser
from django.test import override_settings
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from jobs.events import Event
from jobs.models import ProcessingJob
from jobs.states import EventKind
from progress import hub as hub_module
from progress import repair as repair_module
from progress import topic as topic_module
from progress.groups import hint_of
from progress.hub import Hub
from progress.protocol import Position
from tests.progress.watching import Watcher

AT = datetime(2026, 1, 1, tzinfo=UTC)
JOB = "job-1"

ACTIONS = ["tick", "tick", "status", "stage", "log", "bring", "bring", "repeat", "prune", "anew"]


class World:
    """A job, its log, and the hints that are under way."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.quiet = False
        self.streams = 0
        self.hub: Hub | None = None
        self.hints: list[Any] = []  # on their way
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
        job = self.job
        job.seq += 1
        is_log = kind is EventKind.LOG
        if not is_log:
            job.message = f"{job.epoch} at {job.seq}"
        text, metadata = (f"line {job.seq}", {"level": "info"}) if is_log else (job.message, {})
        event = Event(JOB, job.epoch, job.seq, kind, job.status, job.progress, text, metadata, AT)
        self.log.append(event)
        self.hints.append(hint_of(event))
        self.past.append(hint_of(event))

    def act(self, action: str) -> None:
        note(action)
        if action == "bring" and self.hints:
            self.offer(self.hints.pop(self.draw(st.integers(0, len(self.hints) - 1))))
        elif action == "repeat":
            self.offer(self.draw(st.sampled_from(self.past)))
        elif action == "prune":
            self.pruned = self.draw(st.integers(self.pruned, self.job.seq))
        elif action == "anew":
            self.begin()
        elif action in set(EventKind):
            self.commit(EventKind(action))

    def offer(self, hint: Any) -> None:
        if self.hub is not None:
            self.hub.offer(hint)

    async def moment(self) -> None:
        """A point where others may run and things may happen."""
        if self.quiet:
            await asyncio.sleep(0)
            return
        for action in self.draw(st.lists(st.sampled_from(ACTIONS), max_size=3)):
            self.act(action)
        for _ in range(self.draw(st.integers(0, 3))):
            await asyncio.sleep(0)

    async def in_thread(self, function: Any, *args: Any) -> Any:
        """Stand in for the thread pool: what is read is of one moment, and is there at a later one."""
        await self.moment()
        result = function(*args)
        await self.moment()
        return result

    # The log, as the selectors show it

    def kept(self) -> list[Event]:
        return [event for event in self.log if event.seq > self.pruned]

    def get_job(self, job_id: str) -> ProcessingJob:
        fields = ("id", "public", "status", "message", "progress", "epoch", "seq", "updated_at")
        return ProcessingJob(**{field: getattr(self.job, field) for field in fields})

    def positions(self, job_ids: Any) -> Any:
        return dict.fromkeys(job_ids, (self.job.epoch, self.job.seq))

    def events_after(self, cursors: Any, limit: int) -> list[Event]:
        epoch, seq = cursors[JOB]
        return [event for event in self.kept() if event.epoch == epoch and event.seq > seq][:limit]

    def events_between(self, job_id: str, epoch: str, after: int, upto: int) -> list[Event]:
        return [event for event in self.kept() if event.epoch == epoch and after < event.seq <= upto]


class Client:
    """Folds what it is sent, as the protocol tells clients to, and checks the order."""

    def __init__(self, *, logs: bool) -> None:
        self.logs = logs
        self.epoch = ""
        self.seq = 0
        self.shown: Any = None
        self.is_answered = False

    def fold(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "snapshot":
            self._snapshot(frame)
            return
        assert frame["seq"] > self.seq, "in order, and none twice"
        if self.logs:
            assert frame["seq"] == self.seq + 1, "with log lines, every one"
        self.seq = frame["seq"]
        if frame["type"] == "progress":
            self.shown = frame["message"]

    def _snapshot(self, frame: dict[str, Any]) -> None:
        if frame["recovered"]:
            assert not self.is_answered, "a recovery answers a subscription"
            assert frame["epoch"] == self.epoch
            assert frame["message"] == self.shown, "the events and the snapshot agree"
            assert frame["seq"] == self.seq if self.logs else frame["seq"] >= self.seq
        elif frame["epoch"] == self.epoch and self.is_answered:
            assert frame["seq"] > self.seq, "an unasked snapshot goes on from where the client is"
        self.is_answered = True
        self.epoch, self.seq, self.shown = frame["epoch"], frame["seq"], frame["message"]


async def scenario(data: st.DataObject) -> None:
    world = World(data.draw)
    draw = data.draw
    for action in draw(st.lists(st.sampled_from(ACTIONS), max_size=8)):
        world.act(action)
    client = Client(logs=draw(st.booleans()))
    since = a_position(world, client) if draw(st.booleans()) else None
    for action in draw(st.lists(st.sampled_from(ACTIONS), max_size=8)):
        world.act(action)

    with (
        mock.patch.object(hub_module, "selectors", world_selectors(world)),
        mock.patch.object(topic_module, "selectors", world_selectors(world)),
        mock.patch.object(hub_module, "in_thread", world.in_thread),
        mock.patch.object(topic_module, "in_thread", world.in_thread),
        mock.patch.object(repair_module, "selectors", world_selectors(world)),
        mock.patch.object(repair_module, "in_thread", world.in_thread),
        mock.patch.object(repair_module, "PAGE", draw(st.integers(1, 4))),
    ):
        world.hub = Hub()
        watcher, other = Watcher(), Watcher()
        world.hub.connections = {watcher.connection, other.connection}  # without the hub's own tasks: we repair here
        nobody = AnonymousUser()
        tasks = []
        if draw(st.booleans()):
            await world.hub.subscribe(other.connection, nobody, JOB, None)
        if draw(st.booleans()):
            tasks.append(asyncio.ensure_future(world.hub.repair.sync()))
        await world.moment()
        subscribing = world.hub.subscribe(watcher.connection, nobody, JOB, since, logs=client.logs)
        tasks.append(asyncio.ensure_future(subscribing))
        for _ in range(draw(st.integers(0, 3))):
            await world.moment()
            tasks.append(asyncio.ensure_future(world.hub.repair.sync()))
        async with asyncio.timeout(5):
            await asyncio.gather(*tasks)
        await world.moment()
        world.quiet = True  # nothing more happens; every hint on its way is lost, and the sweep finds out
        await world.hub.repair.sync()

    check(world, client, watcher)
    plain = Client(logs=False)
    if other.frames:
        check(world, plain, other)


def check(world: World, client: Client, watcher: Watcher) -> None:
    for frame in watcher.frames:
        client.fold(frame)
    assert client.is_answered
    assert client.epoch == world.job.epoch
    assert client.shown == world.job.message
    if client.logs:
        assert client.seq == world.job.seq


def a_position(world: World, client: Client) -> Position:
    """Bring the client to some earlier point of the present stream, and return it."""
    seq = world.draw(st.integers(1, world.job.seq))
    client.epoch, client.seq = world.job.epoch, seq
    client.shown = next(e.message for e in reversed(world.log[:seq]) if e.kind is not EventKind.LOG)
    return Position(client.epoch, seq)


def world_selectors(world: World) -> Any:
    names = ("get_job", "positions", "events_after", "events_between")
    return mock.Mock(
        spec_set=[*names, "MAX_CURSORS"], MAX_CURSORS=100, **{name: getattr(world, name) for name in names}
    )


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), ring=st.integers(1, 6), replay=st.integers(0, 20))
def test_subscribe__at_any_moment_the_client_ends_with_what_the_log_says(data, ring, replay):
    with override_settings(PROGRESS_RING_EVENTS=ring, PROGRESS_REPLAY_EVENTS=replay):
        asyncio.run(scenario(data))

"""A client that subscribes at any moment of a running job, whatever the channel layer does, sees what the log says.

The log is in memory here, and each of the hub's reads is a point at which anything may happen: events
are committed, the channel layer brings, repeats, reorders or loses publications, old events are pruned, the
job is made anew. Without a layer there are no publications, and the one sign of a write is the database's change
counter. Chance decides, from a seed of hypothesis's, which can't be asked from within the hub's tasks.
"""

import asyncio
import contextlib
import copy
import random
from typing import Any
from unittest import mock

import pytest
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.states import EventKind
from progress.broker import layers
from progress.delivery import backscroll, chunks, log_reader, pages, reads
from progress.delivery import hub as hub_module
from progress.delivery.hub import Hub
from progress.delivery.sqlite_changes import DataVersion
from progress.protocol.codes import CloseCode
from progress.protocol.exceptions import Refused
from progress.protocol.position import Position
from tests.progress.delivery.interleaving_world import JOB, Counter, World
from tests.progress.watching import Watcher

SELECTORS = "get_jobs", "heads", "events_between", "last_begin", "first_events"
WAIT_SECONDS = 3.0  # for what must come by itself


class Client:
    """Folds what it is sent, as the protocol tells clients to, and checks the order."""

    def __init__(self, *, logs: bool) -> None:
        self.logs = logs
        self.epoch = ""
        self.seq = 0
        self.shown: Any = None
        self.is_answered = False
        self.is_reading_back = False
        self.lines: list[tuple[str, int]] = []

    def fold(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "snapshot":
            self._snapshot(frame)
            return
        if frame["type"] == "backscroll":
            assert self.logs
            assert "cut" not in frame
            self.is_reading_back = True
            if frame["epoch"] != self.epoch:
                self.epoch, self.seq = frame["epoch"], 0
            return
        assert frame["seq"] > self.seq, "in order, and none twice"
        if self.is_reading_back:
            assert frame["type"] == "log"
        elif self.logs:
            assert frame["seq"] == self.seq + 1, "with log lines, every one"
        self.seq = frame["seq"]
        if frame["type"] == "log":
            self.lines.append((self.epoch, self.seq))
        if frame["type"] == "progress":
            self.shown = frame["message"]

    def _snapshot(self, frame: dict[str, Any]) -> None:
        if frame["recovered"]:
            assert not self.is_answered, "a recovery answers a subscription"
            assert frame["epoch"] == self.epoch
            assert frame["message"] == self.shown, "the events and the snapshot agree"
            assert frame["seq"] == self.seq if self.logs else frame["seq"] >= self.seq
        else:
            assert self.is_reading_back == self.logs, "the log lines come first"
            if frame["epoch"] == self.epoch and self.is_answered and not self.logs:
                assert frame["seq"] > self.seq, "an unasked snapshot goes on from where the client is"
        self.is_answered, self.is_reading_back = True, False
        self.epoch, self.seq, self.shown = frame["epoch"], frame["seq"], frame["message"]


async def scenario(chance: random.Random, *, has_layer: bool) -> None:
    world = World(chance, has_layer=has_layer)
    for action in world.some_actions(8):
        world.act(action)
    client = Client(logs=chance.random() < 0.5)
    since = a_position(world, client) if chance.random() < 0.5 else None
    for action in world.some_actions(8):
        world.act(action)

    with (
        mock.patch.multiple("jobs.selectors", **{name: getattr(world, name) for name in SELECTORS}),
        mock.patch.object(reads, "in_thread", world.in_thread),
        mock.patch.object(log_reader, "ROUND_EVENTS", chance.randint(1, 4)),
        mock.patch.object(log_reader, "GATHER_SECONDS", 0.0),
        mock.patch.object(pages, "PAGE_EVENTS", chance.randint(1, 4)),
        mock.patch.object(backscroll, "PAGE_EVENTS", chance.randint(1, 4)),
        mock.patch.object(chunks, "CHUNK_BYTES", chance.choice([1, 400, 32_768])),
        mock.patch.object(DataVersion, "of_database", return_value=Counter(world)),
        mock.patch.object(layers, "configured", return_value=None),
        mock.patch.object(hub_module.Hub, "_layer_works", return_value=has_layer),
    ):
        world.hub = Hub()
        watcher, other = Watcher(), Watcher()
        for each in (watcher, other):
            world.hub.enter(each.connection)
        if chance.random() < 0.5:
            await world.hub.subscribe(other.connection, JOB, None)
        if chance.random() < 0.5:
            world.hub.reader.sweep()
        await world.moment()
        subscribing = asyncio.ensure_future(subscribe(world.hub, watcher, client, since))
        for _ in range(chance.randint(0, 3)):
            await world.moment()
            if has_layer:
                world.hub.reader.sweep()
        async with asyncio.timeout(5):
            await subscribing
        await world.moment()
        world.quiet = True  # nothing more happens; every publication on its way is lost
        if has_layer:
            world.hub.reader.sweep()
        await all_told(world)
        for each in (watcher, other):
            world.hub.leave(each.connection)
        await asyncio.gather(*world.hub._tasks.running, return_exceptions=True)
        assert not world.hub.jobs

    check(world, client, watcher, since)
    if other.frames:
        check(world, Client(logs=False), other, None)


async def subscribe(hub: Hub, watcher: Watcher, client: Client, since: Position | None) -> None:
    """Subscribe as a client does, which begins where it is if the log has changed under its replay."""
    while True:
        try:
            await hub.subscribe(watcher.connection, JOB, since, logs=client.logs)
        except Refused as refused:
            if refused.close is not CloseCode.RESYNC:
                raise
            reached = copy.deepcopy(client)
            for frame in watcher.frames:
                reached.fold(frame)
            since = Position(reached.epoch, reached.seq)
        else:
            return


async def all_told(world: World) -> None:
    """Wait until the hub stands where the job does, and everybody is told, with nobody to tell it so."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WAIT_SECONDS):
            while not is_told(world):  # noqa: ASYNC110
                await asyncio.sleep(0)


def is_told(world: World) -> bool:
    assert world.hub is not None
    job = world.hub.jobs[JOB]
    is_there = job.position == Position(world.job.epoch, world.job.seq)
    return is_there and not any(each.stopped_at for each in job.subscriptions.values())


def check(world: World, client: Client, watcher: Watcher, since: Position | None) -> None:
    for frame in watcher.frames:
        client.fold(frame)
    assert client.is_answered
    assert client.epoch == world.job.epoch
    assert client.shown == world.job.message
    if client.logs:
        assert client.seq == world.job.seq
        begin = since.seq if since is not None and since.epoch == world.job.epoch else 0
        wanted = [event.seq for event in world.log if event.kind is EventKind.LOG and event.seq > begin]
        assert [seq for epoch, seq in client.lines if epoch == world.job.epoch] == wanted
    if world.is_whole:
        check_has_all(world, client, watcher, since)


def check_has_all(world: World, client: Client, watcher: Watcher, since: Position | None) -> None:
    """No snapshot stands for events but the one that was asked for, and each change of status is there."""
    begins = [frame["seq"] for frame in watcher.frames if frame["type"] == "snapshot" and not frame["recovered"]]
    if since is not None:
        begins.append(since.seq)
    (begin,) = begins
    wanted = [event.seq for event in world.log[begin:] if client.logs or event.kind is not EventKind.LOG]
    shown = [frame["seq"] for frame in watcher.frames if frame["type"] in ("progress", "log")]
    assert [seq for seq in shown if seq > begin] == wanted


def a_position(world: World, client: Client) -> Position:
    """Bring the client to some earlier point of the present stream, and return it."""
    seq = world.chance.randint(1, world.job.seq)
    client.epoch, client.seq = world.job.epoch, seq
    client.shown = next(e.message for e in reversed(world.log[:seq]) if e.kind is not EventKind.LOG)
    return Position(client.epoch, seq)


@pytest.mark.parametrize("has_layer", [True, pytest.param(False, marks=pytest.mark.slow)])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), ring=st.integers(1, 6), replay=st.integers(0, 40))
def test_subscribe__at_any_moment_the_client_ends_with_what_the_log_says(has_layer, seed, ring, replay):
    # Access is asked of the database itself, which this world has not: not while a busy machine is at an example.
    sizes = {"PROGRESS_RING_EVENTS": ring, "PROGRESS_REPLAY_EVENTS": replay}
    with override_settings(**sizes, PROGRESS_POLL_SECONDS=1e-6, PROGRESS_ACCESS_SECONDS=3_600.0):
        asyncio.run(scenario(random.Random(seed), has_layer=has_layer))

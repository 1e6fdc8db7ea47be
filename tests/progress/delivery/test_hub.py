"""The hub, on the database, with what the channel layer does scripted."""

import asyncio
import threading
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs import selectors
from jobs.access import AccessPolicy
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from progress.broker import layers
from progress.delivery import arrivals, hubs, log_reader
from progress.delivery.sqlite_changes import DataVersion
from progress.protocol.codes import CloseCode
from progress.protocol.position import Position
from tests.progress.hubs import JOB, a_job, offer, seqs, swept, watch
from tests.progress.watching import ScriptedLayer, Watcher, eventually, run, watchers

pytestmark = pytest.mark.django_db(transaction=True)


# Many at once


async def test_subscribe__a_hundred_at_once_read_the_job_together(calls, no_sweep, layer):
    job = await a_job(ticks=5)
    async with watchers(100) as many:
        since = Position(job.job.epoch, 3)
        await asyncio.gather(*[watch(each, since) for each in many])
        assert all(seqs(each) == [4, 5, 6, 7, 7] for each in many)
        assert calls["get_jobs"] == 2  # before its group is joined, and after that
        assert calls["events_between"] == 1
        assert [call for call in layer.calls if JOB in call[1]] == [("add", f"progress.job.{JOB}")]
    assert hubs.current().jobs == {}


async def test_subscribe__far_behind_is_read_for_itself(calls, settings):
    settings.PROGRESS_RING_EVENTS = 2
    job = await a_job(ticks=10)
    async with watchers(2) as [far, near]:
        await watch(far, Position(job.job.epoch, 1))
        await watch(near, Position(job.job.epoch, 11))
    assert seqs(far) == [*range(2, 13), 12]
    assert seqs(near) == [12, 12]
    assert calls["events_between"] == 2, "a page each: nobody else was about to replay when the second came"


async def test_subscribe__pruned_while_it_reads(unheard, no_sweep, settings, monkeypatch):
    settings.PROGRESS_RING_EVENTS = 2
    job, read = await a_job(ticks=10), selectors.events_between

    def prune_first(*args: Any) -> Any:
        JobEvent.objects.filter(seq__lte=6).delete()
        return read(*args)

    monkeypatch.setattr(selectors, "events_between", prune_first)
    async with watchers() as [watcher]:
        await watch(watcher, Position(job.job.epoch, 3))
    (frame,) = watcher.frames
    assert (frame["seq"], frame["recovered"]) == (12, False)


async def test_subscribe__behind_what_the_client_has_seen_catches_up_first(unheard, no_sweep):
    """The client comes from another server, which was faster."""
    job = await a_job(ticks=1)
    async with watchers(2) as [first, second]:
        await watch(first)
        await job.amark_progress(50)
        await watch(second, Position(job.job.epoch, 4))
    (frame,) = second.frames
    assert (frame["seq"], frame["recovered"]) == (4, True)


@pytest.mark.parametrize("seen", [8, 9])
async def test_subscribe__behind_what_the_client_has_seen_by_more_than_a_round(unheard, no_sweep, monkeypatch, seen):
    monkeypatch.setattr(log_reader, "ROUND_EVENTS", 2)
    job = await a_job(ticks=1)
    async with watchers(2) as [first, second]:
        await watch(first)
        for step in range(6):
            await job.amark_progress(step)
        await watch(second, Position(job.job.epoch, seen))
    assert [frame["seq"] for frame in second.frames] == [*range(seen + 1, 10), 9]
    assert second.frames[-1]["recovered"] is True


@pytest.mark.parametrize("layer", [None, ScriptedLayer], ids=["no layer", "layer"])
async def test_leave__stops_the_hub(monkeypatch, layer):
    monkeypatch.setattr(layers, "configured", layer or (lambda: None))
    await a_job()
    before = asyncio.all_tasks()
    async with watchers(2) as [one, other]:
        await watch(one)
        await watch(other)
        assert asyncio.all_tasks() > before
    assert hubs.current().jobs == {}
    await eventually(lambda: asyncio.all_tasks() == before)


@pytest.fixture
def lively(settings, monkeypatch):
    """All that the hub does of itself, it does soon."""
    settings.PROGRESS_SWEEP_SECONDS = settings.PROGRESS_SYNC_SECONDS = settings.PROGRESS_HEARTBEAT_SECONDS = 0.01
    monkeypatch.setattr(DataVersion, "of_database", lambda: None)


async def watch_all(watcher: Watcher) -> None:
    await watch(watcher)
    await hubs.current().subscribe_feed(watcher.connection, "all")


async def all_comes(watcher: Watcher, change: Awaitable[None]) -> None:
    """Wait until a change of status that nobody tells of has come, of the job and in the feed; and a heartbeat."""
    del watcher.frames[:]
    await change
    await watcher.until(lambda frames: {"progress", "feed", "heartbeat"} <= {frame["type"] for frame in frames})


async def test_leave__of_one_lets_the_hub_go_on(unheard, lively):
    job = await a_job()
    async with watchers(2) as [one, other]:
        await watch_all(other)
        hubs.current().leave(one.connection)
        await all_comes(other, job.amark_started())


async def test_enter__again_after_it_stopped(unheard, lively, layer):
    job = await a_job()
    for change in (job.amark_queued, job.amark_started):
        async with watchers() as [watcher]:
            await watch_all(watcher)
            await eventually(lambda: hubs.current().subscriber.is_healthy)
            await all_comes(watcher, change())


async def test_put__an_event_that_can_not_be_encoded_takes_no_other_along(unheard, no_sweep):
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        here = hubs.current()
        here.arrivals.put(replace(unheard[-1], job_id="other", progress=float("inf")))
        here.arrivals.put(unheard[-1])
        await watcher.until_seq(2)


async def test_dispatch__what_joins_on_asks_nothing_of_the_database(calls, no_sweep):
    job = await a_job()
    await job.amark_started()
    async with watchers() as [watcher]:
        await watch(watcher)
        calls.clear()
        await job.amark_progress(1)
        await job.amark_completed()
        await watcher.until_seq(4)
        await asyncio.sleep(0.05)
    assert calls == {}


async def test_put__a_burst_wakes_the_loop_once_and_a_closed_one_never(unheard, no_sweep, monkeypatch):
    job = await a_job(ticks=3)
    async with watchers() as [watcher]:
        await watch(watcher, Position(job.job.epoch, 1))
        here, calls = hubs.current(), []
        monkeypatch.setattr(here.loop, "call_soon_threadsafe", calls.append)
        for event in unheard:
            here.arrivals.put(event)
        assert calls == [here.arrivals._dispatch_some]
        calls.pop()()
        here.arrivals.put(unheard[-1])
        assert calls == [here.arrivals._dispatch_some]
        calls.pop()()
        monkeypatch.setattr(here.loop, "is_closed", lambda: True)
        here.arrivals.put(unheard[-1])
        assert calls == []
        monkeypatch.undo()


# With a channel layer


async def test_put__a_flood_leaves_others_their_turns(unheard, no_sweep):
    job = await ProcessingJobLifecycle.acreate(JOB, public=True)
    await job.amark_started()
    async with watchers(1):
        taken = []
        for _ in range(1000):
            hubs.current().arrivals.put(unheard[-1])
        while hubs.current().arrivals._queue:
            before = len(hubs.current().arrivals._queue)
            await asyncio.sleep(0)
            taken.append(before - len(hubs.current().arrivals._queue))
        assert sum(taken) == 1000
        assert max(taken) <= arrivals.EVENTS_A_TURN


@pytest.mark.parametrize("answer", ["yes", "no", "raises"])
async def test_sweep__who_may_watch_is_asked_again_when_the_owner_changes(unheard, no_sweep, monkeypatch, answer):
    """Nothing is sent until that is known; then nothing is missing."""
    job = await a_job()
    owner = await run(User.objects.create_user)("ann")
    asking, passing = asyncio.Event(), threading.Event()

    def may_view(self: Any, user: Any, job: Any) -> bool:
        if job.owner_id is not None:
            hub_loop.call_soon_threadsafe(asking.set)
            assert passing.wait(10)
            if answer == "raises":
                raise RuntimeError("the policy fails")
        return answer == "yes" or job.owner_id is None

    hub_loop = asyncio.get_running_loop()
    monkeypatch.setattr(AccessPolicy, "may_view", may_view)
    async with watchers() as [watcher]:
        await watch(watcher)
        await run(ProcessingJob.objects.filter(pk=JOB).update)(owner=owner)
        await job.amark_started()
        hubs.current().reader.sweep()
        await asking.wait()
        await job.alog("a line")
        await job.amark_progress(5)
        for event in unheard:
            offer(event)
        assert len(watcher.frames) == 1
        passing.set()
        await watcher.until(lambda frames: len(frames) > 1)
    told = [frame.get("seq", frame.get("code")) for frame in watcher.frames]
    assert told == {"yes": [1, 2, 4], "no": [1, "job_not_found"], "raises": [1, "unavailable"]}[answer]


@pytest.mark.parametrize("is_required", [True, False])
async def test_sweep__what_can_not_be_shown_ends_a_socket_that_has_no_other_purpose(no_sweep, is_required):
    """It comes back, and asks again; any other socket asks when it likes."""
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher, is_required=is_required)
        await run(ProcessingJob.objects.update)(epoch="another", progress=float("inf"))
        await swept()
        await watcher.until(lambda frames: frames[-1].get("code") == "unavailable")
        await eventually(lambda: watcher.codes == ([CloseCode.RESYNC] if is_required else []))
    assert job.job_id == JOB

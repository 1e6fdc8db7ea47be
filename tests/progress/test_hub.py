"""The hub, on the database, with what the channel layer does scripted."""

import asyncio
from typing import Any

import pytest

from jobs import selectors
from jobs.models import JobEvent
from progress import hub, layers, link
from progress.groups import hint_of, job_message
from progress.protocol import Position
from tests.progress.hubs import JOB, a_job, seqs, watch
from tests.progress.watching import ScriptedLayer, eventually, watchers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def calls(monkeypatch):
    """How often each selector was asked."""
    counted: dict[str, int] = {}

    def count(name: str) -> None:
        real = getattr(selectors, name)

        def counting(*args: Any, **options: Any) -> Any:
            counted[name] = counted.get(name, 0) + 1
            return real(*args, **options)

        monkeypatch.setattr(selectors, name, counting)

    for name in ("get_jobs", "events_between", "heads"):
        count(name)
    return counted


# Many at once


async def test_subscribe__a_hundred_at_once_read_the_job_once(calls, no_sweep, monkeypatch):
    layer = ScriptedLayer()
    monkeypatch.setattr(layers, "get_channel_layer", lambda: layer)
    job = await a_job(ticks=5)
    async with watchers(100) as many:
        since = Position(job.job.epoch, 3)
        await asyncio.gather(*[watch(each, since) for each in many])
        assert all(seqs(each) == [4, 5, 6, 7, 7] for each in many)
        assert calls["get_jobs"] == 1
        assert calls["events_between"] == 1
        assert layer.calls == [("add", f"job.{JOB}")]
    assert hub.current().jobs == {}


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


async def test_leave__stops_the_hub():
    await a_job()
    before = asyncio.all_tasks()
    async with watchers(2) as [one, other]:
        await watch(one)
        await watch(other)
        assert asyncio.all_tasks() > before
    assert hub.current().jobs == {}
    await eventually(lambda: asyncio.all_tasks() == before)


async def test_enter__again_after_it_stopped():
    job = await a_job()
    for _ in range(2):
        async with watchers() as [watcher]:
            await watch(watcher)
            reached = job.job.seq
            await (job.amark_started() if reached == 1 else job.amark_progress(5))
            await watcher.until_seq(reached + 1)


# With a channel layer


async def test_layer__brings_events(unheard, no_sweep, monkeypatch):
    layer = ScriptedLayer()
    monkeypatch.setattr(layers, "get_channel_layer", lambda: layer)
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await job.amark_progress(5)
        await layer.inbox.put(job_message([hint_of(event) for event in unheard]))
        await watcher.until_seq(3)
    assert seqs(watcher) == [1, 2, 3]


@pytest.mark.parametrize("trouble", ["broken", "hangs"])
async def test_layer__in_trouble_events_come_from_the_log(unheard, monkeypatch, trouble):
    monkeypatch.setattr(link, "ANSWER_SECONDS", 0.02)
    layer = ScriptedLayer()
    setattr(layer, trouble, True)
    monkeypatch.setattr(layers, "get_channel_layer", lambda: layer)
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await watcher.until_seq(2)


async def test_layer__lost_the_last_message(unheard, settings, monkeypatch):
    settings.PROGRESS_SYNC_SECONDS = 0.01
    layer = ScriptedLayer()
    monkeypatch.setattr(layers, "get_channel_layer", lambda: layer)
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await eventually(lambda: hub.current().link.is_whole)
        await job.amark_started()
        await watcher.until_seq(2)


# The hubs of the process


def test_current__forgets_loops_that_are_closed():
    async def mine() -> hub.Hub:
        return hub.current()

    first, second = asyncio.run(mine()), asyncio.run(mine())
    assert first is not second
    assert first not in hub._hubs.values()


async def test_interested__only_in_what_is_watched():
    await a_job()
    async with watchers() as [watcher]:
        assert hub.interested(JOB, "status") == []
        await watch(watcher)
        assert hub.interested(JOB, "tick") == [hub.current()]
        assert hub.interested("another", "status") == []
    assert hub.interested(JOB, "tick") == []

"""To subscribe again to a job that is watched: nothing comes twice."""

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.models import ProcessingJob
from progress.delivery import chunks
from progress.delivery.connection import Connection
from progress.delivery.log_reader import LogReader
from progress.protocol.position import Position
from tests.progress.hubs import JOB, a_job, seqs, swept, watch
from tests.progress.watching import run, watchers

pytestmark = pytest.mark.django_db(transaction=True)


# To subscribe again


async def test_subscribe__again_with_a_position_sends_nothing_twice(no_sweep):
    """What is on its way to the client when it asks is not sent once more."""
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await job.amark_progress(5)
        await watcher.until_seq(3)
        await watch(watcher, Position(job.job.epoch, 1))
        await job.amark_progress(6)
        await watcher.until_seq(4)
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == [
        ("snapshot", 1),
        ("progress", 2),
        ("progress", 3),
        ("snapshot", 3),
        ("progress", 4),
    ]


async def test_subscribe__again_from_before_the_subscription_replays_what_it_asks_for(no_sweep):
    job = await a_job(ticks=2)
    async with watchers() as [watcher]:
        await watch(watcher)
        await watch(watcher, Position(job.job.epoch, 2))
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames[1:]] == [
        ("progress", 3),
        ("progress", 4),
        ("snapshot", 4),
    ]


async def test_subscribe__again_after_the_job_was_begun_anew_sends_nothing_twice(unheard, no_sweep):
    job = await a_job(ticks=1)
    async with watchers() as [watcher]:
        await watch(watcher)
        await run(ProcessingJob.objects.filter(pk=JOB).delete)()
        job = await a_job(ticks=1)
        await swept()
        await job.amark_progress(50)
        await swept()
        await watch(watcher, Position(job.job.epoch, 3))
    assert seqs(watcher) == [3, 3, 4, 4]


async def test_subscribe__again_after_events_were_passed_over_sends_nothing_twice(unheard, no_sweep, settings):
    """What the client asks for was on its way when it came to a snapshot."""
    settings.PROGRESS_REPLAY_EVENTS = 3
    job = await a_job(ticks=1)
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_progress(1)
        await swept()
        for step in range(5):
            await job.amark_progress(step)
        await swept()
        settings.PROGRESS_REPLAY_EVENTS = 100
        await job.amark_progress(6)
        await swept()
        await watch(watcher, Position(job.job.epoch, 4))
    assert seqs(watcher) == [3, 4, 9, 10, 10]
    assert watcher.frames[-1]["recovered"] is False, "it has not got what was passed over"


async def test_subscribe__again_while_a_long_replay_is_under_way(no_sweep, monkeypatch):
    """What comes meanwhile comes after the replay, and once."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1)
    job = await a_job(ticks=5)
    async with watchers() as [watcher]:
        await watch(watcher)
        refresh = LogReader.refresh

        async def slow(*args: Any) -> None:
            await refresh(*args)
            await job.amark_progress(50)

        monkeypatch.setattr(LogReader, "refresh", slow)
        await watch(watcher, Position(job.job.epoch, 1))
        await job.amark_progress(60)
        await watcher.until_seq(9)
    assert seqs(watcher) == [7, *range(2, 9), 8, 9]


async def test_subscribe__again_with_log_lines(no_sweep):
    job = await a_job(ticks=1)
    await job.alog("a line")
    async with watchers() as [watcher]:
        await watch(watcher)
        await watch(watcher, Position(job.job.epoch, 3), logs=True)
        await job.alog("another")
        await watcher.until_seq(5)
        await watch(watcher, Position(job.job.epoch, 5))
        await job.alog("unseen")
        await job.amark_progress(5)
        await watcher.until_seq(7)
    assert [frame["type"] for frame in watcher.frames] == [
        *("snapshot", "log", "snapshot", "log", "snapshot", "progress"),
    ]


async def test_subscribe__again_after_a_recovery_sends_nothing_twice(no_sweep):
    job = await a_job(ticks=2)
    async with watchers() as [watcher]:
        await watch(watcher, Position(job.job.epoch, 2))
        await watch(watcher, Position(job.job.epoch, 3))
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == [
        *(("progress", 3), ("progress", 4), ("snapshot", 4)),
        ("snapshot", 4),
    ]


async def test_subscribe__again_after_access_was_asked_anew_sends_nothing_twice(no_sweep):
    """The subscription went on; so it still begins where it began."""
    job = await a_job()
    owner = await run(User.objects.create_user)("ann")
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await run(ProcessingJob.objects.filter(pk=JOB).update)(owner=owner)
        await swept()
        await job.amark_progress(5)
        await watcher.until_seq(3)
        await watch(watcher, Position(job.job.epoch, 1))
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == [
        ("snapshot", 1),
        ("progress", 2),
        ("progress", 3),
        ("snapshot", 3),
    ]


async def test_subscribe__again_while_access_was_asked_anew_sends_nothing_twice(unheard, no_sweep, monkeypatch):
    """It was stopped, and a part of what it missed has been sent."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1)
    job = await a_job()
    owner = await run(User.objects.create_user)("ann")
    async with watchers() as [watcher]:
        await watch(watcher)
        for step in range(3):
            await (job.amark_progress(step) if step else job.amark_started())
        await run(ProcessingJob.objects.filter(pk=JOB).update)(owner=owner)
        ready, passing = Connection.ready, asyncio.Event()

        async def waits(self: Connection) -> None:
            if len(watcher.frames) == 2:
                await passing.wait()
            await ready(self)

        monkeypatch.setattr(Connection, "ready", waits)
        await swept()
        await watcher.until_seq(2)
        monkeypatch.setattr(Connection, "ready", ready)
        await watch(watcher, Position(job.job.epoch, 1))
        passing.set()
        await job.amark_progress(3)
        await swept()
        await watcher.until_seq(5)
    assert seqs(watcher) == [1, 2, 3, 4, 4, 5]

"""What a round of the log reader brings: the events that are kept, or a snapshot, and whose come first."""

import asyncio
from typing import Any

import pytest

from jobs import selectors
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from progress.delivery import log_reader, reads
from progress.protocol.position import Position
from tests.progress.hubs import JOB, a_job, offer, seqs, swept, watch
from tests.progress.watching import run, watchers

pytestmark = pytest.mark.django_db(transaction=True)


async def test_round__many_jobs_many_pages(unheard, no_sweep, monkeypatch):
    monkeypatch.setattr(log_reader, "ROUND_EVENTS", 3)
    monkeypatch.setattr(selectors, "MAX_SPANS", 2)
    monkeypatch.setattr(selectors, "MAX_IDS", 2)
    jobs = [await ProcessingJobLifecycle.acreate(f"job-{number}", public=True) for number in range(5)]
    async with watchers(5) as all_watchers:
        for number, watcher in enumerate(all_watchers):
            await watch(watcher, job_id=f"job-{number}")
        for job in jobs:
            await job.amark_started()
            for step in range(3):
                await job.amark_progress(step)
        await swept()
        assert [seqs(watcher) for watcher in all_watchers] == [[1, 2, 3, 4, 5]] * 5


@pytest.mark.parametrize(("room", "rounds"), [(1, [["near"], [JOB], [JOB], [JOB]]), (4, [["near", JOB]])])
async def test_round__begins_with_those_who_miss_the_fewest(unheard, no_sweep, monkeypatch, room, rounds):
    """Whoever is far behind holds nobody up."""
    far, near = await a_job(), await ProcessingJobLifecycle.acreate("near", public=True)
    for _ in range(9):
        await near.alog("a line")
    async with watchers(2) as [one, other]:
        await watch(one)
        await watch(other, job_id="near")
        for _ in range(3):
            await far.alog("a line")
        await near.alog("a line")
        read, in_thread = [], reads.in_thread

        async def noted(function: Any, *args: Any) -> Any:
            if function is log_reader._publications:
                read.append(list(args[0]))
            return await in_thread(function, *args)

        monkeypatch.setattr(log_reader, "ROUND_EVENTS", room)
        monkeypatch.setattr(reads, "in_thread", noted)
        await swept()
    assert read == rounds


async def test_round__kept_events_come_as_themselves(unheard, no_sweep, monkeypatch):
    """However many pages it takes: no snapshot in their place, which would leave log lines out."""
    monkeypatch.setattr(log_reader, "ROUND_EVENTS", 2)
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher, logs=True)
        await job.amark_started()
        for step in range(3):
            await job.amark_progress(step)
            await job.alog("a line")
        await swept()
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames[1:]] == [
        ("snapshot", 1),
        ("progress", 2),
        *[(kind, seq) for seq in (3, 5, 7) for kind, seq in (("progress", seq), ("log", seq + 1))],
    ]


async def test_round__pruned_in_between_is_a_snapshot(unheard, no_sweep):
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await job.amark_progress(5)
        await run(JobEvent.objects.filter(seq=2).delete)()
        await swept()
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == [("snapshot", 1), ("snapshot", 3)]
    assert watcher.frames[1]["recovered"] is False


async def test_round__too_far_behind_is_a_snapshot(unheard, no_sweep, settings, monkeypatch):
    """Nobody could replay it either; and it would take many rounds."""
    settings.PROGRESS_REPLAY_EVENTS = 3
    job = await a_job()
    read: list[Any] = []
    events_between = selectors.events_between
    monkeypatch.setattr(selectors, "events_between", lambda spans: read.append(spans) or events_between(spans))
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        for step in range(3):
            await job.amark_progress(step)
        await swept()
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == [("snapshot", 1), ("snapshot", 5)]
    assert read == []


async def test_round__a_log_that_was_set_back_is_another_stream(unheard, no_sweep):
    """From a backup: the row and the end of the log are of an earlier time, and the worker goes on from there."""
    job = await a_job(ticks=3)
    async with watchers(3) as [live, new, back]:
        await watch(live)
        old = Position(live.frames[0]["epoch"], live.frames[0]["seq"])
        await run(JobEvent.objects.filter(seq__gt=3).delete)()
        await run(ProcessingJob.objects.filter(pk=JOB).update)(seq=3, progress=18.0, message="from the backup")
        await swept()
        await live.until(lambda frames: len(frames) == 2)
        await job.amark_progress(19.0)
        for event in unheard[-1:]:
            offer(event)
        await live.until(lambda frames: len(frames) == 3)
        await watch(new)
        await watch(back, old)
    assert [(frame["type"], frame["seq"], frame["progress"]) for frame in live.frames[1:]] == [
        ("snapshot", 3, 18.0),
        ("progress", 4, 19.0),
    ]
    for each in (new, back):
        (snapshot,) = each.frames
        assert (snapshot["seq"], snapshot["progress"], snapshot["recovered"]) == (4, 19.0, False)
        assert snapshot["epoch"] == live.frames[1]["epoch"] != old.epoch


async def test_subscribe__finds_that_the_log_was_set_back(unheard, no_sweep):
    await a_job(ticks=3)
    async with watchers(2) as [live, new]:
        await watch(live)
        await run(ProcessingJob.objects.filter(pk=JOB).update)(seq=3, message="from the backup")
        await watch(new)
        await live.until(lambda frames: len(frames) == 2)
    assert [(each.frames[-1]["seq"], each.frames[-1]["message"]) for each in (live, new)] == [
        (3, "from the backup")
    ] * 2


async def test_subscribe__a_position_ahead_reads_its_own_job_once_for_all(unheard, no_sweep, monkeypatch):
    asked: list[int] = []
    read = reads.in_thread

    async def counting(function: Any, *args: Any) -> Any:
        if function is log_reader._rows_and_heads:
            asked.append(sum(map(len, args)))
        return await read(function, *args)

    jobs = [await ProcessingJobLifecycle.acreate(f"job-{number}", public=True) for number in range(5)]
    async with watchers(101) as [host, *hostile]:
        for number in range(5):
            await watch(host, job_id=f"job-{number}")
        await swept()
        monkeypatch.setattr(reads, "in_thread", counting)
        far = Position(jobs[0].job.epoch, 2**62)
        await asyncio.gather(*(watch(each, far, job_id="job-0") for each in hostile))
        assert all(each.frames[0]["recovered"] is False for each in hostile)
    assert asked == [1]

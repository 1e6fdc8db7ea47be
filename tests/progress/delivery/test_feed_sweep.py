"""How a feed finds what nobody told it of, and when it looks."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from jobs import selectors
from jobs.models import ProcessingJob
from progress.delivery import feed, hubs, tasks
from tests.progress.delivery.feeds import a_job, has_told, told, watch
from tests.progress.hubs import swept
from tests.progress.watching import Watcher, eventually, run, watchers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick_feed")]


async def test_feed__sweep_finds_what_was_not_told(unheard, no_sweep, settings):
    settings.PROGRESS_SWEEP_SECONDS = 0.001
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await swept()
        await watcher.until(has_told("job-1", "in_progress"))
    assert told(watcher) == [[("job-1", "pending")], [("job-1", "in_progress")]]


async def test_feed__sweep_tells_nothing_twice(unheard, settings, monkeypatch):
    settings.PROGRESS_SWEEP_SECONDS = 0.001
    job, looks = await a_job(), []
    look = feed.Feed._changes

    async def counting(self: feed.Feed, seconds: float) -> Any:
        looks.append(seconds)
        return await look(self, seconds)

    monkeypatch.setattr(feed.Feed, "_changes", counting)
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        for looked in range(2, 5):
            await swept()
            await eventually(lambda: len(set(looks)) == 2 and len(looks) >= 2 * looked - 1)  # noqa: B023
        await watcher.until(has_told("job-1", "in_progress"))
    assert told(watcher) == [[("job-1", "pending")], [("job-1", "in_progress")]]


async def test_sweep__of_what_was_there_tells_nothing(settings, monkeypatch):
    settings.PROGRESS_SWEEP_SECONDS = 0.001
    await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        hubs.current().feed.sweep()
        await eventually(lambda: not hubs.current().feed._look_asked)
        later = await a_job("job-2")
        await watcher.until(has_told("job-2", later.job.status))
    assert told(watcher) == [[("job-1", "pending")], [("job-2", "pending")]]


async def test_add__who_comes_later_makes_the_first_miss_nothing(unheard, no_sweep, settings):
    settings.PROGRESS_SWEEP_SECONDS = 0.001
    job = await a_job()
    async with watchers(2) as [first, second]:
        await watch(first)
        await job.amark_started()
        await watch(second)
        await swept()
        await first.until(has_told("job-1", "in_progress"))


async def committed_late(job_id: str) -> None:
    """A job in a transaction that took longer than looks go back."""
    await a_job(job_id)
    at = timezone.now() - timedelta(seconds=2 * feed.LOOK_SECONDS)
    await run(ProcessingJob.objects.filter(pk=job_id).update)(status_changed_at=at)


async def told_one_after_the_other(made: feed.Feed, watcher: Watcher, make: Callable[[str], Awaitable[Any]]) -> None:
    for job_id in ("job-8", "job-9"):
        await make(job_id)
        made.sweep()
        await watcher.until(has_told(job_id, "pending"))


async def test_sweep__asked_too_early_is_done_when_it_may_be(alone, settings):
    made, watcher = alone
    settings.PROGRESS_SWEEP_SECONDS = 0.2
    await committed_late("job-8")
    made.sweep()
    await watcher.until(has_told("job-8", "pending"))
    before = asyncio.get_running_loop().time()
    await committed_late("job-9")
    made.sweep()
    await watcher.until(has_told("job-9", "pending"))
    assert asyncio.get_running_loop().time() - before > 0.1


async def test_look__waits_for_no_sweep(alone, monkeypatch):
    """Which takes long where very many jobs have changed their status in the last minute."""
    made, watcher = alone
    look, sweep_is_over = feed.Feed._changes, asyncio.Event()

    async def slow_to_sweep(self: feed.Feed, seconds: float) -> Any:
        if seconds > feed.LOOK_SECONDS:
            await sweep_is_over.wait()
        return await look(self, seconds)

    monkeypatch.setattr(feed.Feed, "_changes", slow_to_sweep)
    await committed_late("job-8")
    made.sweep()
    await a_job("job-9")
    made.sweep()
    await watcher.until(has_told("job-9", "pending"))
    assert not has_told("job-8", "pending")(watcher.frames)
    sweep_is_over.set()
    await watcher.until(has_told("job-8", "pending"))


async def test_sweep__tells_nothing_again_that_changed_meanwhile(alone, monkeypatch):
    """What is sent while it reads is news, also if the job had not changed its status for long."""
    made, watcher = alone
    read, begun, may_end = feed.Feed._changes, asyncio.Event(), asyncio.Event()
    job = await a_job("job-9")
    made.mark("job-9")
    await watcher.until(has_told("job-9", "pending"))

    async def of_before(self: feed.Feed, seconds: float) -> Any:
        if seconds == feed.LOOK_SECONDS or begun.is_set():
            return await read(self, seconds)
        begun.set()
        await may_end.wait()
        return {}, []

    monkeypatch.setattr(feed.Feed, "_changes", of_before)
    made.sweep()
    await begun.wait()
    await job.amark_started()
    made.mark("job-9")
    await watcher.until(has_told("job-9", "in_progress"))
    may_end.set()
    await a_job("job-10")
    made.sweep()
    made.mark("job-9")
    await watcher.until(has_told("job-10", "pending"))
    assert [change for frame in told(watcher) for change in frame].count(("job-9", "in_progress")) == 1


async def test_sweep__that_the_database_was_slow_for_is_made_again_soon(alone, monkeypatch):
    made, watcher = alone
    read = feed.Feed._changes

    async def slow_to_sweep(self: feed.Feed, seconds: float) -> Any:
        if seconds > feed.LOOK_SECONDS:
            await asyncio.sleep(0.25)
        return await read(self, seconds)

    monkeypatch.setattr(feed.Feed, "_changes", slow_to_sweep)
    await told_one_after_the_other(made, watcher, committed_late)


async def test_sweep__of_very_many_is_made_again_before_anything_is_too_old_for_it(alone, settings, monkeypatch):
    made, watcher = alone
    settings.PROGRESS_FEED_OVERLAP_SECONDS = 0.5
    monkeypatch.setattr(feed, "LOOK_SECONDS", 0)
    monkeypatch.setattr(feed, "SWEPT_A_SECOND", 1e-6)
    await told_one_after_the_other(made, watcher, a_job)


async def test_sweep__from_before_the_first_came_tells_them_nothing_again(alone, settings, monkeypatch):
    """It goes back further than what they are told at first, of which no more is remembered than that."""
    made, leaves = alone
    await a_job("job-8")
    await run(ProcessingJob.objects.update)(status_changed_at=timezone.now() - timedelta(seconds=30))
    read, begun, may_end = feed.Feed._changes, asyncio.Event(), asyncio.Event()

    async def slow_to_sweep(self: feed.Feed, seconds: float) -> Any:
        changes = await read(self, seconds)
        if seconds == 60:
            begun.set()
            await may_end.wait()
        return changes

    monkeypatch.setattr(feed.Feed, "_changes", slow_to_sweep)
    made.sweep()
    await begun.wait()
    made.remove(leaves.connection)
    settings.PROGRESS_FEED_OVERLAP_SECONDS = 1  # as half a minute later
    comes = Watcher()
    await made.add(comes.connection, "all")
    may_end.set()
    await a_job("job-9")
    made.mark("job-9")
    await comes.until(has_told("job-9", "pending"))
    assert told(comes) == [[("job-8", "pending")], [("job-9", "pending")]]


async def test_remove__of_the_last_ends_what_is_looked_for(alone):
    made, watcher = alone
    looks = made.looks
    made.sweep()
    made.remove(watcher.connection)
    await asyncio.sleep(0.05)
    assert made.looks == looks


async def test_sweep__that_failed_is_made_again(unheard, no_sweep, monkeypatch):
    monkeypatch.setattr(tasks, "RESTART_SECONDS", 0.001)
    read, failures = selectors.jobs_changed_since, [OperationalError("away")]

    def fails_once(since: Any) -> Any:
        if failures:
            raise failures.pop()
        return read(since)

    async with watchers() as [watcher]:
        await watch(watcher)
        monkeypatch.setattr(selectors, "jobs_changed_since", fails_once)
        await a_job("job-9")
        hubs.current().feed.sweep()
        await watcher.until(has_told("job-9", "pending"))
    assert failures == []


async def test_run__does_nothing_where_there_is_nothing(alone, monkeypatch):
    made, _ = alone
    turns, send = [], made._send_changes

    async def counted() -> None:
        turns.append(made)
        await send()

    monkeypatch.setattr(made, "_send_changes", counted)
    await asyncio.sleep(0.05)
    assert len(turns) <= 1


async def test_tick__is_not_looked_into(no_sweep, monkeypatch):
    job = await a_job()
    await job.amark_started()
    async with watchers() as [watcher]:
        await watch(watcher)
        await hubs.current().subscribe(watcher.connection, "job-1", None)
        marked: list[str] = []
        monkeypatch.setattr(hubs.current().feed, "mark", marked.append)
        await job.amark_progress(5)
        await watcher.until(lambda frames: frames[-1]["type"] == "progress")
        assert marked == []
        await job.amark_completed()
        await watcher.until(lambda frames: frames[-1].get("status") == "completed")
        assert marked == ["job-1"]


async def test_sweep__once_asked_is_looked_into_once(alone):
    made, watcher = alone
    job = await a_job("job-9")
    made.sweep()
    await watcher.until(has_told("job-9", "pending"))
    looks = made.looks
    for _ in range(3):  # what else there is to do is no reason to look again
        await job.alog("a line")
        made.mark("job-9")
        await eventually(lambda: not made._changed)
    assert made.looks == looks


async def test_sweep__forgets_what_changed_long_ago(alone):
    made, watcher = alone
    await a_job("job-9")
    made.mark("job-9")
    await watcher.until(has_told("job-9", "pending"))
    assert list(made._sent) == ["job-9"]
    await run(ProcessingJob.objects.update)(status_changed_at=timezone.now() - timedelta(days=1))
    made.sweep()
    await eventually(lambda: made._sent == {})


async def test_mark__of_a_feed_that_nobody_watches_keeps_nothing(alone):
    made, watcher = alone
    made.remove(watcher.connection)
    made.mark("job-1")
    made.sweep()
    assert (made._changed, made._look_asked, made._sweep_wanted.is_set()) == ({}, False, False)

"""The feeds, where reads and changes cross, and watchers come and go."""

import asyncio
from typing import Any

import pytest

from jobs.models import ProcessingJob
from progress.delivery import feed_reads, hubs, reads
from tests.progress.delivery.feeds import a_job, has_told, told, watch
from tests.progress.hubs import swept
from tests.progress.watching import eventually, run, watchers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick_feed")]


async def test_add__what_changes_during_the_first_read_comes_after_it(no_sweep, hold):
    job, held = await a_job(), hold(feed_reads.read_recent)
    async with watchers() as [watcher]:
        watching = asyncio.ensure_future(watch(watcher))
        await held.reading.wait()
        await job.amark_started()
        await eventually(lambda: any(watcher.owed for watcher in hubs.current().feed._watchers.values()))
        held.passing.set()
        await watching
        await watcher.until(lambda frames: len(frames) == 2)
    assert told(watcher) == [[("job-1", "pending")], [("job-1", "in_progress")]]


async def test_add__who_comes_second_makes_the_first_miss_nothing(unheard, no_sweep, monkeypatch):
    """Both find that nobody watches; a change falls between their reads, and no publication comes."""
    job, read = await a_job(), reads.in_thread
    second_read, passing, count = asyncio.Event(), asyncio.Event(), 0

    async def slow(function: Any, *args: Any) -> Any:
        nonlocal count
        if function is feed_reads.read_changes:
            count += 1
            if count == 2:
                second_read.set()
                await passing.wait()
        return await read(function, *args)

    monkeypatch.setattr(reads, "in_thread", slow)
    async with watchers(2) as [first, second]:
        watching = [asyncio.ensure_future(watch(each)) for each in (first, second)]
        await first.until(lambda frames: len(frames) == 1)
        await job.amark_started()
        passing.set()
        await asyncio.gather(*watching)
        await swept()
        await first.until(has_told("job-1", "in_progress"))
        assert told(second)[-1] == [("job-1", "in_progress")]


async def test_add__who_comes_while_changes_are_read_is_not_shown_what_is_older(no_sweep, monkeypatch):
    """The read is newer than the first answer, and for all others the change has been told with it."""
    job, read = await a_job(), reads.in_thread
    reading, passing = asyncio.Event(), asyncio.Event()

    async def slow(function: Any, *args: Any) -> Any:
        if function is feed_reads.read_jobs and not reading.is_set():
            reading.set()
            await passing.wait()
        return await read(function, *args)

    monkeypatch.setattr(reads, "in_thread", slow)
    async with watchers(2) as [first, second]:
        await watch(first)
        await job.amark_started()
        await reading.wait()
        await watch(second)
        await job.amark_completed()
        hubs.current().feed._changed.clear()  # the word of it is lost
        passing.set()
        await first.until(has_told("job-1", "completed"))
        await second.until(has_told("job-1", "completed"))
    assert told(second)[0] == [("job-1", "in_progress")]


async def test_add__what_was_set_back_after_it_was_shown_is_told(unheard, no_sweep, monkeypatch):
    """To what others were told before: no change for them."""
    job, read = await a_job(), reads.in_thread
    before = await run(ProcessingJob.objects.values("status", "status_changed_at", "seq").get)()

    async def overtaken(function: Any, *args: Any) -> Any:
        if function is not feed_reads.read_recent:
            return await read(function, *args)
        await job.amark_started()
        shown = await read(function, *args)
        await run(ProcessingJob.objects.update)(**before)
        return shown

    monkeypatch.setattr(reads, "in_thread", overtaken)
    async with watchers() as [watcher]:
        await watch(watcher)
        await watcher.until(has_told("job-1", "pending"))
    assert told(watcher) == [[("job-1", "in_progress")], [("job-1", "pending")]]


async def test_add__gone_before_the_answer(no_sweep, monkeypatch):
    await a_job()
    async with watchers(2) as [goes, _]:
        watching = asyncio.ensure_future(watch(goes))
        await asyncio.sleep(0)
        hubs.current().leave(goes.connection)
        await watching
        assert not hubs.current().feed.is_watched
    assert goes.frames == []


async def test_remove__nothing_follows_though_it_was_being_read(no_sweep, hold):
    job, held = await a_job(), hold(feed_reads.read_jobs)
    async with watchers(2) as [leaves, stays]:
        await watch(leaves)
        await watch(stays)
        await job.amark_started()
        await held.reading.wait()
        hubs.current().unsubscribe_feed(leaves.connection, "all")
        held.passing.set()
        await stays.until(has_told("job-1", "in_progress"))
        assert len(leaves.frames) == 1

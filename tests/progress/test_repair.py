"""What the hub does about what the channel layer loses, repeats or disorders: it reads the log."""

import asyncio
import threading
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, transaction

from jobs import selectors
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from progress import hub, repair, topic
from progress.exceptions import Refused
from progress.groups import Hint
from progress.protocol import Position
from progress.wakeups import DataVersion
from tests.progress.hubs import JOB, a_job, offer, seqs, synced, watch
from tests.progress.watching import eventually, run, watchers

pytestmark = pytest.mark.django_db(transaction=True)


async def test_offer__a_gap_is_read_from_the_log_at_once(unheard, no_sweep):
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await eventually(synced)
        await job.amark_queued()
        await job.amark_started()
        await job.amark_progress(50)
        offer(unheard[-1])
        await watcher.until_seq(4)
    assert seqs(watcher) == [1, 2, 3, 4]


async def test_offer__duplicates_and_disorder(unheard, no_sweep):
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await eventually(synced)
        await job.amark_started()
        await job.amark_progress(1)
        await job.amark_progress(2)
        _, second, third, fourth = unheard
        for event in (second, second, fourth, third, fourth, second):
            offer(event)
        await watcher.until_seq(4)
        await hub.current().repair.sync()
    assert seqs(watcher) == [1, 2, 3, 4]


async def test_offer__of_another_stream_is_looked_into(unheard, no_sweep):
    await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await eventually(synced)
        hub.current().offer(Hint(JOB, "another", 2, "tick", "{}"))
        assert not synced()
        await eventually(synced)
    assert seqs(watcher) == [1]


async def test_sweep__repairs_a_lost_last_event(unheard, settings, monkeypatch):
    settings.PROGRESS_SWEEP_SECONDS = 0.01
    monkeypatch.setattr(DataVersion, "of_database", lambda: None)
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await watcher.until_seq(2)


async def test_data_version__tells_of_a_write_of_others(unheard):
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await eventually(synced)
        await job.amark_started()
        await watcher.until_seq(2)


async def test_start__what_was_written_before_the_counter_was_read_is_seen(unheard, monkeypatch):
    """A topic may have been read already when the hub begins to look."""
    job, open_counter, written = await a_job(), DataVersion.of_database, threading.Event()

    def late() -> Any:
        if not written.is_set():
            raise OperationalError("not now")
        return open_counter()

    monkeypatch.setattr(DataVersion, "of_database", late)
    monkeypatch.setattr(repair, "RETRY_SECONDS", 0.01)
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        written.set()
        await watcher.until_seq(2)


@pytest.mark.parametrize(
    "error", [OperationalError("away"), InterfaceError("closed"), ZeroDivisionError("a bug")], ids=repr
)
async def test_repair__goes_on_after_an_error(unheard, monkeypatch, logged, error):
    monkeypatch.setattr(repair, "RETRY_SECONDS", 0.01)
    job, positions, failed = await a_job(), selectors.positions, threading.Event()

    def fails_once(job_ids: Any) -> Any:
        if failed.is_set():
            return positions(job_ids)
        failed.set()
        raise error

    async with watchers() as [watcher]:
        await watch(watcher)
        await eventually(synced)
        monkeypatch.setattr(selectors, "positions", fails_once)
        await job.amark_started()
        await watcher.until_seq(2)
    assert len(logged.of("progress.repair", 30)) == 1


async def test_sync__many_jobs_many_pages(unheard, no_sweep, monkeypatch):
    monkeypatch.setattr(repair, "PAGE", 3)
    monkeypatch.setattr(selectors, "MAX_CURSORS", 2)
    monkeypatch.setattr(selectors, "MAX_IDS", 2)
    jobs = [await ProcessingJobLifecycle.acreate(f"job-{number}", public=True) for number in range(5)]
    async with watchers(5) as all_watchers:
        for number, watcher in enumerate(all_watchers):
            await watch(watcher, job_id=f"job-{number}")
        for job in jobs:
            await job.amark_started()
            for step in range(3):
                await job.amark_progress(step)
        await hub.current().repair.sync()
        assert [seqs(watcher) for watcher in all_watchers] == [[1, 2, 3, 4, 5]] * 5


async def test_sync__pruned_in_between_is_a_snapshot(unheard, no_sweep):
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await job.amark_progress(5)
        await run(JobEvent.objects.filter(seq=2).delete)()
        await hub.current().repair.sync()
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == [("snapshot", 1), ("snapshot", 3)]
    assert watcher.frames[1]["recovered"] is False


async def test_sync__never_goes_back(unheard, no_sweep, monkeypatch):
    """What was pruned, and more, arrives through the channel layer while the job is read."""
    job, read = await a_job(), repair.in_thread

    async def overtaken(function: Any, *args: Any) -> Any:
        result = await read(function, *args)
        if function is selectors.get_job:
            await job.amark_progress(6)
            for event in unheard:
                offer(event)
        return result

    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await job.amark_progress(5)
        await run(JobEvent.objects.filter(seq=2).delete)()
        monkeypatch.setattr(repair, "in_thread", overtaken)
        await hub.current().repair.sync()
    assert seqs(watcher) == [1, 2, 3, 4]


async def test_sync__a_job_made_anew_while_it_looks(unheard, no_sweep, monkeypatch):
    """It must end, though the new stream is behind where the old one stood."""
    job, read = await a_job(), selectors.events_after
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()

        def anew_first(*args: Any) -> Any:
            with transaction.atomic():
                ProcessingJob.objects.all().delete()
                ProcessingJobLifecycle.create(JOB, public=True)
            monkeypatch.setattr(selectors, "events_after", read)
            return read(*args)

        monkeypatch.setattr(selectors, "events_after", anew_first)
        async with asyncio.timeout(5):
            await hub.current().repair.sync()
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == [("snapshot", 1)] * 2
    assert watcher.frames[0]["epoch"] != watcher.frames[1]["epoch"]


async def test_sync__watched_anew_while_it_looks(unheard, no_sweep, monkeypatch):
    """The topic that was behind is gone, and another of the same job does not stand anywhere yet."""
    job, read = await a_job(), hub.in_thread
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        reading, passing = asyncio.Event(), asyncio.Event()

        async def slow(function: Any, *args: Any) -> Any:
            result = await read(function, *args)
            if function in (selectors.events_after, selectors.get_job):
                reading.set()
                await passing.wait()
            return [] if function is selectors.events_after else result

        monkeypatch.setattr(hub, "in_thread", slow)
        monkeypatch.setattr(repair, "in_thread", slow)
        syncing = asyncio.ensure_future(hub.current().repair.sync())
        await reading.wait()
        hub.current().unsubscribe(watcher.connection, JOB)
        watching = asyncio.ensure_future(watch(watcher))
        await asyncio.sleep(0)
        monkeypatch.setattr(hub, "in_thread", read)
        monkeypatch.setattr(repair, "in_thread", read)
        passing.set()
        await asyncio.gather(syncing, watching)
        assert seqs(watcher) == [1, 2]


async def test_subscribe__a_job_made_anew_for_others_meanwhile(unheard, no_sweep, monkeypatch):
    job, replay = await a_job(ticks=1), hub.Hub._replay

    def replace() -> None:
        with transaction.atomic():
            ProcessingJob.objects.all().delete()
            ProcessingJobLifecycle.create(JOB, public=False)

    async def after_a_change(self: hub.Hub, *args: Any, **options: Any) -> Any:
        await run(replace)()
        await self.repair.sync()
        return await replay(self, *args, **options)

    async with watchers(2) as [present, comes]:
        await watch(present)
        monkeypatch.setattr(hub.Hub, "_replay", after_a_change)
        with pytest.raises(Refused, match="Job not found"):
            await watch(comes, Position(job.job.epoch, 2))
    assert comes.frames == []
    assert [frame["type"] for frame in present.frames] == ["snapshot", "error"]


async def test_sync__a_job_that_goes_while_somebody_subscribes(unheard, no_sweep, monkeypatch):
    job, read = await a_job(), hub.in_thread
    asking, passing = asyncio.Event(), asyncio.Event()

    async def slow(function: Any, *args: Any) -> Any:
        if function is topic._may_view:
            asking.set()
            await passing.wait()
        return await read(function, *args)

    monkeypatch.setattr(topic, "in_thread", slow)
    async with watchers() as [watcher]:
        watching = asyncio.ensure_future(watch(watcher))
        await asking.wait()
        await run(job.job.delete)()
        await hub.current().repair.sync()
        passing.set()
        with pytest.raises(Refused, match="Job not found"):
            await watching
    assert watcher.frames == []

"""What changes while the log is read: more is written, the job is made anew, or watched anew."""

import asyncio
import contextlib
from typing import Any

import pytest
from django.db import transaction

from jobs import selectors
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from progress.delivery import hubs, log_reader, reads
from progress.protocol.exceptions import Refused
from tests.progress.hubs import JOB, a_job, offer, seqs, swept, watch
from tests.progress.watching import run, watchers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("has_more", [False, True])
async def test_round__never_goes_back(unheard, no_sweep, monkeypatch, has_more):
    """What was pruned, and perhaps more, arrives through the channel layer while the row is read."""
    job, read = await a_job(), reads.in_thread

    async def overtaken(function: Any, *args: Any) -> Any:
        result = await read(function, *args)
        if function is log_reader._rows_and_heads and args[0]:
            monkeypatch.setattr(reads, "in_thread", read)  # the start has the row read once more
            if has_more:
                await job.amark_progress(6)
            for event in unheard:
                offer(event)
        return result

    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await job.amark_progress(5)
        await run(JobEvent.objects.filter(seq=2).delete)()
        monkeypatch.setattr(reads, "in_thread", overtaken)
        await swept()
    assert seqs(watcher) == [1, 2, 3, 4][: 4 if has_more else 3]


async def test_round__a_job_made_anew_while_it_reads(unheard, no_sweep, monkeypatch):
    """It must end, though the new stream is behind where the old one stood."""
    job, read = await a_job(), selectors.events_between
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()

        def anew_first(*args: Any) -> Any:
            with transaction.atomic():
                ProcessingJob.objects.all().delete()
                ProcessingJobLifecycle.create(JOB, public=True)
            monkeypatch.setattr(selectors, "events_between", read)
            return read(*args)

        monkeypatch.setattr(selectors, "events_between", anew_first)
        async with asyncio.timeout(5):
            await swept()
        await watcher.until(lambda frames: len(frames) == 2)
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == [("snapshot", 1)] * 2
    assert watcher.frames[0]["epoch"] != watcher.frames[1]["epoch"]


async def test_round__watched_anew_while_it_reads(unheard, no_sweep, hold):
    """The job that was behind is dropped, and another of the same id has not been read yet."""
    job = await a_job()
    async with watchers(2) as [watcher, _]:
        await watch(watcher)
        await job.amark_started()
        held = hold(log_reader._publications)
        sweeping = asyncio.ensure_future(swept())
        await held.reading.wait()
        hubs.current().unsubscribe(watcher.connection, JOB)
        watching = asyncio.ensure_future(watch(watcher))
        await asyncio.sleep(0)
        held.passing.set()
        await asyncio.gather(sweeping, watching)
        assert seqs(watcher) == [1, 2]


@pytest.mark.parametrize("change", ["write", "delete"])
async def test_subscribe__what_is_committed_while_the_job_is_loaded(unheard, settings, monkeypatch, change):
    """The one sign of it is the database's counter, and nothing else is written that would wake the hub again."""
    settings.PROGRESS_SYNC_SECONDS = 1000
    job, read = await a_job(), reads.in_thread
    is_first = True

    async def overtaken(function: Any, *args: Any) -> Any:
        nonlocal is_first
        result = await read(function, *args)
        if function is log_reader._rows_and_heads and args[0] and is_first:
            is_first = False
            await (job.amark_started() if change == "write" else run(job.job.delete)())
        return result

    async with watchers() as [watcher]:
        await swept()
        monkeypatch.setattr(reads, "in_thread", overtaken)
        if change == "write":
            await watch(watcher)
            await watcher.until_seq(2)
        else:
            with contextlib.suppress(Refused):  # told at once, or soon after the job was shown
                await watch(watcher)
                await watcher.until(lambda frames: frames[-1].get("code") == "job_not_found")
            assert len(hubs.current().jobs) == 0


async def test_offer__while_the_job_is_loaded_is_looked_into(no_sweep, monkeypatch):
    """What the row does not show yet, and where nothing else would bring it."""
    job, get_jobs = await a_job(), selectors.get_jobs

    def reads_early(job_ids: Any) -> Any:
        found = get_jobs(job_ids)
        if job.job.seq == 1:
            job.mark_started()
        return found

    monkeypatch.setattr(selectors, "get_jobs", reads_early)
    async with watchers() as [watcher]:
        await watch(watcher)
        await watcher.until_seq(2)
    assert seqs(watcher) == [1, 2]

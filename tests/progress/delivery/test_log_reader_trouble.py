"""The log reader and a database that fails, or rows that can't be shown."""

import threading
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError

from jobs import selectors
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from progress.delivery import hubs, tasks
from progress.delivery.sqlite_changes import DataVersion
from progress.protocol.exceptions import Refused
from tests.progress.hubs import JOB, a_job, seqs, swept, watch
from tests.progress.watching import run, watchers

pytestmark = pytest.mark.django_db(transaction=True)


async def test_start__a_counter_that_can_not_be_read_keeps_nobody_waiting(unheard, monkeypatch):
    job, open_counter, is_back = await a_job(), DataVersion.of_database, threading.Event()

    def late() -> Any:
        if not is_back.is_set():
            raise OperationalError("not now")
        return open_counter()

    monkeypatch.setattr(DataVersion, "of_database", late)
    monkeypatch.setattr(tasks, "RESTART_SECONDS", 0.01)
    async with watchers() as [watcher]:
        with pytest.raises(Refused) as refused:
            await watch(watcher)
        assert refused.value.temporary
        is_back.set()
        await job.amark_started()
        await watch(watcher)
    assert seqs(watcher) == [2]


@pytest.mark.parametrize(
    "error", [OperationalError("away"), InterfaceError("closed"), ZeroDivisionError("a bug")], ids=repr
)
async def test_run__goes_on_after_an_error(unheard, monkeypatch, logged, error):
    monkeypatch.setattr(tasks, "RESTART_SECONDS", 0.01)
    job, heads, failed = await a_job(), selectors.heads, threading.Event()

    def fails_once(job_ids: Any) -> Any:
        if failed.is_set():
            return heads(job_ids)
        failed.set()
        raise error

    async with watchers() as [watcher]:
        await watch(watcher)
        await swept()
        monkeypatch.setattr(selectors, "heads", fails_once)
        await job.amark_started()
        await watcher.until_seq(2)
    assert len(logged.of("progress.delivery.tasks", 30)) == 1


async def test_run__what_one_row_does_harms_its_own_job_only(unheard, no_sweep, logged):
    job = await a_job()
    bad = await ProcessingJobLifecycle.acreate("bad", public=True)
    async with watchers(2) as [watcher, of_bad]:
        await watch(watcher)
        await watch(of_bad, job_id="bad")
        await bad.amark_started()
        await job.amark_started()
        await run(ProcessingJob.objects.filter(pk="bad").update)(progress=float("inf"))
        await run(JobEvent.objects.filter(job_id="bad", seq=2).update)(progress=float("inf"))
        await swept()
        await watcher.until_seq(2)
        await of_bad.until(lambda frames: frames[-1].get("code") == "unavailable")
        await swept()
        assert len(of_bad.frames) == 2, "said once"
        with pytest.raises(Refused) as refused:
            await watch(of_bad, job_id="bad")
        assert refused.value.temporary
        await run(ProcessingJob.objects.filter(pk="bad").update)(progress=5.0)
        await watch(of_bad, job_id="bad")
    assert (of_bad.frames[-1]["type"], of_bad.frames[-1]["progress"]) == ("snapshot", 5.0)


async def test_take__a_row_that_can_not_be_shown_changes_nothing(unheard, no_sweep, settings):
    """So that the job goes on from where it was once the row is mended, though nobody has let go of it meanwhile."""
    settings.PROGRESS_REPLAY_EVENTS = 1
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        with hubs.current().jobs[JOB].subscribing():
            await job.amark_started()
            await job.amark_progress(5)
            await run(ProcessingJob.objects.update)(progress=float("inf"))
            await swept()
            assert watcher.frames[-1]["code"] == "unavailable"
            assert hubs.current().jobs[JOB].position.seq == 1
            await run(ProcessingJob.objects.update)(progress=5.0)
            await watch(watcher)
    assert (watcher.frames[-1]["type"], watcher.frames[-1]["seq"]) == ("snapshot", 3)

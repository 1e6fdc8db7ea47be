"""What the hub does about what the channel layer loses, repeats or disorders: it reads the log."""

import pytest

from progress.broker.messages import Publication
from progress.delivery import hubs
from progress.delivery.sqlite_changes import DataVersion
from tests.progress.hubs import JOB, a_job, offer, seqs, swept, watch
from tests.progress.watching import eventually, watchers

pytestmark = pytest.mark.django_db(transaction=True)


async def test_offer__a_gap_is_read_from_the_log_at_once(unheard, no_sweep):
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await swept()
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
        await swept()
        await job.amark_started()
        await job.amark_progress(1)
        await job.amark_progress(2)
        _, second, third, fourth = unheard
        for event in (second, second, fourth, third, fourth, second):
            offer(event)
        await watcher.until_seq(4)
        await swept()
    assert seqs(watcher) == [1, 2, 3, 4]


async def test_offer__of_another_stream_is_looked_into(unheard, no_sweep):
    await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await swept()
        hubs.current().dispatch([Publication(JOB, "another", 2, "tick", "{}")])
        assert JOB in hubs.current().reader._next.marked
        await swept()
    assert seqs(watcher) == [1]


async def test_sweep__repairs_a_lost_last_event(unheard, settings, monkeypatch):
    settings.PROGRESS_SWEEP_SECONDS = 0.01
    settings.PROGRESS_SYNC_SECONDS = 1000
    monkeypatch.setattr(DataVersion, "of_database", lambda: None)
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await watcher.until_seq(2)


async def test_data_version__tells_of_a_write_of_others(unheard, settings):
    settings.PROGRESS_SYNC_SECONDS = 1000
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await swept()
        await job.amark_started()
        await watcher.until_seq(2)


async def test_run__gives_the_counter_back(monkeypatch):
    closed, close = [], DataVersion.close

    def noted(self: DataVersion) -> None:
        closed.append(self)
        close(self)

    monkeypatch.setattr(DataVersion, "close", noted)
    async with watchers():
        await swept()
        assert closed == []
    await eventually(lambda: len(closed) == 1)

"""A job is deleted: whoever watches it, or a list with it, hears of that without a sweep."""

from collections.abc import Iterator
from typing import Any

import pytest

from jobs.models import ProcessingJob
from jobs.signals import job_deleted
from progress.broker.messages import Deletion, deletion_message, feed_message
from progress.delivery import hubs
from tests.jobs.bad_rows import of_each_that_can_not_be_shown, spoil
from tests.progress.delivery import feeds
from tests.progress.hubs import JOB, a_job, watch
from tests.progress.watching import eventually, run, watchers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_sweep", "quick_feed")]

GONE = {"error": "Job not found", "code": "job_not_found", "temporary": False, "subject": JOB}


def refusals(frames: list[Any]) -> list[Any]:
    return [{key: frame.get(key) for key in GONE} for frame in frames if frame["type"] == "error"]


@pytest.fixture
def untold() -> Iterator[None]:
    """Of a deletion, this process is not told."""
    job_deleted.disconnect(dispatch_uid="progress.hub")
    yield
    job_deleted.connect(hubs.compare, dispatch_uid="progress.hub")


async def test_delete__is_told_to_watchers():
    job = await a_job(3)
    async with watchers(2) as [watcher, other]:
        await watch(watcher)
        await watch(other)
        await job.adelete()
        for each in watcher, other:
            await each.until(refusals)
            assert refusals(each.frames) == [GONE]
        await eventually(lambda: JOB not in hubs.current().jobs)


async def test_delete__by_another_process_is_told_through_the_layer(untold, layer):
    job = await a_job(3)
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.adelete()
        await layer.inbox.put(deletion_message(Deletion(JOB)))
        await watcher.until(refusals)


async def test_delete__a_false_message_does_no_harm(layer):
    job = await a_job(3)
    async with watchers() as [watcher]:
        await watch(watcher)
        await layer.inbox.put(deletion_message(Deletion(JOB)))
        await layer.inbox.put(deletion_message(Deletion("other")))
        await job.amark_progress(50)
        await watcher.until_seq(6)
        assert not refusals(watcher.frames)


async def test_delete__and_made_anew_is_another_job():
    """Whichever of the two a watcher is told of first, it sees the new one only if it asks."""
    job = await a_job(3)
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.adelete()
        await watcher.until(refusals)
        await a_job()
        await watch(watcher)
    assert [frame["seq"] for frame in watcher.frames if frame["type"] == "snapshot"][-1] == 1


async def test_feed__a_deleted_job_leaves_the_list():
    job, other = await feeds.a_job(), await feeds.a_job("job-2")
    async with watchers(2) as [watcher, of_nobody]:
        await feeds.watch(watcher)
        await feeds.watch(of_nobody, name="mine")
        await job.adelete()
        await watcher.until(refusals)
        assert refusals(watcher.frames) == [GONE]
        await other.amark_started()
        await watcher.until(lambda frames: any(frame.get("jobs") for frame in frames[2:]))
        assert not refusals(of_nobody.frames)
        assert hubs.current().feed.shown_to(watcher.connection) == ["job-2"]


async def test_feed__of_another_process(untold, layer):
    job = await feeds.a_job()
    async with watchers() as [watcher]:
        await feeds.watch(watcher)
        await job.adelete()
        await layer.inbox.put(feed_message([JOB]))
        await watcher.until(refusals)


@of_each_that_can_not_be_shown
async def test_feed__a_job_that_can_not_be_shown_is_not_gone(bad):
    await feeds.a_job()
    other = await feeds.a_job("job-2")
    async with watchers() as [watcher]:
        await feeds.watch(watcher)
        await run(spoil)(JOB, bad)
        hubs.current().feed.mark(JOB)
        await other.amark_started()
        await watcher.until(lambda frames: len(frames) > 1)
        assert not refusals(watcher.frames)


async def test_feed__is_told_of_a_deleted_job_once_however_often_it_is_said():
    job, other = await feeds.a_job(), await feeds.a_job("job-2")
    async with watchers() as [watcher]:
        await feeds.watch(watcher)
        await feeds.watch(watcher, name="mine")
        await job.adelete()
        await watcher.until(refusals)
        hubs.current().feed.mark(JOB)
        await other.amark_started()
        await watcher.until(lambda frames: frames[-1]["type"] == "feed")
    assert refusals(watcher.frames) == [GONE]
    assert await run(ProcessingJob.objects.count)() == 1


async def test_delete__of_a_job_that_is_watched_and_listed_is_told_once():
    job, other = await feeds.a_job(), await feeds.a_job("job-2")
    async with watchers() as [watcher]:
        await feeds.watch(watcher)
        await watch(watcher)
        hubs.current().reader.mark = lambda *_, **__: None  # type: ignore[method-assign]  # which comes later
        await job.adelete()
        await other.amark_started()
        await watcher.until(lambda frames: frames[-1]["type"] == "feed" and len(frames) > 2)
        assert not refusals(watcher.frames)
        del hubs.current().reader.mark  # type: ignore[method-assign]
        hubs.compare(None, JOB)
        await watcher.until(refusals)
    assert refusals(watcher.frames) == [GONE]

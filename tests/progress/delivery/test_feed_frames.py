"""What fits into a feed's frames: the first may be cut, changes come in several."""

import pytest

from progress.delivery import feed_watcher, hubs
from tests.progress.delivery.feeds import a_job, has_told, told, watch
from tests.progress.watching import watchers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick_feed")]


async def test_feed__the_first_frame_has_the_latest_that_fit(unheard, no_sweep, monkeypatch):
    for number in range(4):
        await a_job(f"job-{number}", name="n" * 100)
    monkeypatch.setattr(feed_watcher, "FRAME_CHARACTERS", 900)
    async with watchers() as [watcher]:
        await watch(watcher)
    assert told(watcher) == [[("job-2", "pending"), ("job-3", "pending")]]
    assert watcher.frames[0]["cut"] is True


async def test_feed__the_first_frame_of_jobs_with_large_results_has_all(unheard, no_sweep):
    for number in range(50):
        job = await a_job(f"job-{number}")
        await job.amark_started()
        await job.amark_completed(result="x" * 15_000)
    async with watchers() as [watcher]:
        await watch(watcher)
    assert len(told(watcher)[0]) == 50
    assert "cut" not in watcher.frames[0]


async def test_feed__jobs_that_are_all_too_large_for_the_first_frame_are_cut(unheard, no_sweep):
    for number in range(50):
        job = await a_job(f"job-{number}")
        await job.amark_started(metadata={"mine": "x" * 15_000})
    async with watchers() as [watcher]:
        await watch(watcher)
    assert [job_id for job_id, _ in told(watcher)[0]] == [f"job-{number}" for number in range(33, 50)]
    assert watcher.frames[0]["cut"] is True


async def test_feed__one_job_too_large_for_a_frame_is_a_frame(unheard, no_sweep, monkeypatch):
    monkeypatch.setattr(feed_watcher, "FRAME_CHARACTERS", 1)
    await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
    assert told(watcher) == [[("job-1", "pending")]]


async def test_feed__changes_have_no_result_and_are_never_cut(no_sweep, monkeypatch):
    monkeypatch.setattr(feed_watcher, "FRAME_CHARACTERS", 1)
    jobs = [await a_job(f"job-{number}") for number in range(2)]
    async with watchers() as [watcher]:
        await watch(watcher)
        for job in jobs:
            await job.amark_started()
            await job.amark_completed(result={"rows": 40})
        await watcher.until(has_told("job-1", "completed"))
    changes = watcher.frames[1:]
    assert all("result" not in entry["metadata"] for frame in changes for entry in frame["jobs"])
    assert not any("cut" in frame for frame in changes)


async def test_feed__many_changes_at_once_come_in_several_frames(unheard, no_sweep, monkeypatch):
    async with watchers() as [watcher]:
        await watch(watcher)
        monkeypatch.setattr(feed_watcher, "FRAME_CHARACTERS", 900)
        for number in range(5):
            await a_job(f"job-{number}", name="n" * 100)
        for number in range(5):
            hubs.current().feed.mark(f"job-{number}")
        await watcher.until(has_told("job-4", "pending"))
    assert sorted(job for frame in told(watcher) for job, _ in frame) == [f"job-{number}" for number in range(5)]
    assert all(len(frame) <= 2 for frame in told(watcher))


async def test_batches__as_large_as_they_may_be_and_no_larger(monkeypatch):
    monkeypatch.setattr(feed_watcher, "FRAME_CHARACTERS", 6)
    assert list(feed_watcher._batches(["123"] * 5)) == [["123"] * 2, ["123"] * 2, ["123"]]

"""The feeds, where reads and changes cross."""

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError

from jobs import selectors
from jobs.access import AccessPolicy
from jobs.models import ProcessingJob
from progress.broker.messages import feed_message
from progress.delivery import feed, hub, hubs, reads
from progress.protocol.exceptions import Refused
from tests.jobs.bad_rows import of_each_that_can_not_be_shown, spoil
from tests.progress.delivery.feeds import a_job, has_told, told, watch
from tests.progress.hubs import swept
from tests.progress.watching import eventually, run, watchers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(feed, "GATHER_SECONDS", 0.001)


async def test_feed__changes_that_come_together_are_told_together(no_sweep, monkeypatch):
    monkeypatch.setattr(feed, "GATHER_SECONDS", 0.2)
    jobs = [await a_job(f"job-{number}") for number in range(3)]
    async with watchers() as [watcher]:
        await watch(watcher)
        for job in reversed(jobs):
            await job.amark_started()
        await watcher.until(lambda frames: len(frames) == 2)
    assert told(watcher)[1] == [("job-2", "in_progress"), ("job-1", "in_progress"), ("job-0", "in_progress")]


async def test_feed__ticks_are_not_told(no_sweep):
    job = await a_job()
    await job.amark_started()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_progress(5)
        await job.amark_completed()
        await watcher.until(has_told("job-1", "completed"))
    assert len(watcher.frames) == 2


async def test_add__what_changes_during_the_first_read_comes_after_it(no_sweep, monkeypatch):
    job, read, reading, passing = await a_job(), reads.in_thread, asyncio.Event(), asyncio.Event()

    async def slow(function: Any, *args: Any) -> Any:
        result = await read(function, *args)
        if function is feed._recent:
            reading.set()
            await passing.wait()
        return result

    monkeypatch.setattr(reads, "in_thread", slow)
    async with watchers() as [watcher]:
        watching = asyncio.ensure_future(watch(watcher))
        await reading.wait()
        await job.amark_started()
        await eventually(lambda: any(watcher.owed for watcher in hubs.current().feed._watchers.values()))
        passing.set()
        await watching
        await watcher.until(lambda frames: len(frames) == 2)
    assert told(watcher) == [[("job-1", "pending")], [("job-1", "in_progress")]]


async def test_add__who_comes_second_makes_the_first_miss_nothing(unheard, no_sweep, monkeypatch):
    """Both find that nobody watches; a change falls between their reads, and no publication comes."""
    job, read = await a_job(), reads.in_thread
    second_read, passing, count = asyncio.Event(), asyncio.Event(), 0

    async def slow(function: Any, *args: Any) -> Any:
        nonlocal count
        if function is selectors.jobs_changed_since:
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


async def test_add__what_was_set_back_after_it_was_shown_is_told(unheard, no_sweep, monkeypatch):
    """To what others were told before: no change for them."""
    job, read = await a_job(), reads.in_thread
    before = await run(ProcessingJob.objects.values("status", "status_changed_at", "seq").get)()

    async def overtaken(function: Any, *args: Any) -> Any:
        if function is not feed._recent:
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


async def test_remove__nothing_follows_though_it_was_being_read(no_sweep, monkeypatch):
    job, read, reading, passing = await a_job(), reads.in_thread, asyncio.Event(), asyncio.Event()

    async def slow(function: Any, *args: Any) -> Any:
        result = await read(function, *args)
        if function is feed._read:
            reading.set()
            await passing.wait()
        return result

    monkeypatch.setattr(reads, "in_thread", slow)
    async with watchers(2) as [leaves, stays]:
        await watch(leaves)
        await watch(stays)
        await job.amark_started()
        await reading.wait()
        hubs.current().unsubscribe_feed(leaves.connection, "all")
        passing.set()
        await stays.until(has_told("job-1", "in_progress"))
        assert len(leaves.frames) == 1


async def test_add__gone_before_the_answer(no_sweep, monkeypatch):
    await a_job()
    async with watchers(2) as [goes, _]:
        watching = asyncio.ensure_future(watch(goes))
        await asyncio.sleep(0)
        hubs.current().leave(goes.connection)
        await watching
        assert not hubs.current().feed.is_watched
    assert goes.frames == []


async def test_tell__tries_again_after_a_database_error(no_sweep, settings, monkeypatch, logged):
    settings.PROGRESS_FEED_OVERLAP_SECONDS = 0.001  # no sweep finds it
    job, read, failures = await a_job(), selectors.get_jobs, [OperationalError("away")]

    def fails_once(ids: Any) -> Any:
        if failures:
            raise failures.pop()
        return read(ids)

    monkeypatch.setattr(selectors, "get_jobs", fails_once)
    monkeypatch.setattr(hub, "RESTART_SECONDS", 0.001)
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await watcher.until(has_told("job-1", "in_progress"))
    assert len(logged.of("progress.delivery.hub")) == 1


async def test_feed__both_at_once_and_each_for_itself(no_sweep):
    ann = await run(User.objects.create_user)("ann")
    own, other = await a_job("own", owner=ann, public=False), await a_job("other")
    async with watchers() as [watcher]:
        await watch(watcher, ann, "mine")
        await watch(watcher, ann, "all")
        hubs.current().unsubscribe_feed(watcher.connection, "mine")
        await own.amark_started()
        await other.amark_started()
        await watcher.until(has_told("other", "in_progress"))
    assert {frame["subject"] for frame in watcher.frames[2:]} == {"all"}
    assert [entry["job_id"] for entry in watcher.frames[0]["jobs"]] == ["own"]


async def test_feed__the_first_frame_has_the_latest_that_fit(unheard, no_sweep, monkeypatch):
    for number in range(4):
        await a_job(f"job-{number}", name="n" * 100)
    monkeypatch.setattr(feed, "FRAME_CHARACTERS", 900)
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


async def test_feed__changes_have_no_result_and_are_never_cut(no_sweep, monkeypatch):
    monkeypatch.setattr(feed, "FRAME_CHARACTERS", 1)
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
        monkeypatch.setattr(feed, "FRAME_CHARACTERS", 900)
        for number in range(5):
            await a_job(f"job-{number}", name="n" * 100)
        for number in range(5):
            hubs.current().feed.mark(f"job-{number}")
        await watcher.until(has_told("job-4", "pending"))
    assert sorted(job for frame in told(watcher) for job, _ in frame) == [f"job-{number}" for number in range(5)]
    assert all(len(frame) <= 2 for frame in told(watcher))


async def test_batches__as_large_as_they_may_be_and_no_larger(monkeypatch):
    monkeypatch.setattr(feed, "FRAME_CHARACTERS", 6)
    assert list(feed._batches(["123"] * 5)) == [["123"] * 2, ["123"] * 2, ["123"]]


async def test_feed__one_job_too_large_for_a_frame_is_a_frame(unheard, no_sweep, monkeypatch):
    monkeypatch.setattr(feed, "FRAME_CHARACTERS", 1)
    await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
    assert told(watcher) == [[("job-1", "pending")]]


async def test_tell__a_policy_that_raises_harms_its_own_watcher_and_job_only(no_sweep, monkeypatch, logged):
    """And once it can decide, what it could not decide on is told."""
    monkeypatch.setattr(feed, "POLICY_RETRY_SECONDS", 0.001)
    ann, bob = [await run(User.objects.create_user)(name) for name in ("ann", "bob")]
    job, other = await a_job(), await a_job("job-2")
    may_view, is_broken = AccessPolicy.may_view, True

    def fails(self: Any, user: Any, job: Any) -> bool:
        if is_broken and user == ann and job.pk == "job-1":
            raise KeyError("team")
        return may_view(self, user, job)

    async with watchers(2) as [of_ann, of_bob]:
        await watch(of_ann, ann)
        await watch(of_bob, bob)
        monkeypatch.setattr(AccessPolicy, "may_view", fails)
        await job.amark_started()
        await other.amark_started()
        await of_bob.until(has_told("job-1", "in_progress"))
        await of_ann.until(has_told("job-2", "in_progress"))
        assert not has_told("job-1", "in_progress")(of_ann.frames)
        is_broken = False
        await of_ann.until(has_told("job-1", "in_progress"))
    assert [change for frame in told(of_bob)[1:] for change in frame].count(("job-1", "in_progress")) == 1
    assert "team" in logged.of("progress.delivery.feed")[0]


async def test_add__a_policy_that_raises_is_unavailable(no_sweep, monkeypatch):
    def fails(*_: Any) -> Any:
        raise KeyError("team")

    monkeypatch.setattr(AccessPolicy, "recent", fails)
    async with watchers() as [watcher]:
        with pytest.raises(Refused) as refused:
            await watch(watcher)
        assert refused.value.temporary
        assert not hubs.current().feed.is_watched


async def test_feed__a_row_that_can_not_be_shown_is_left_out(no_sweep, logged):
    job, bad = await a_job(), await a_job("bad")
    await run(ProcessingJob.objects.filter(pk="bad").update)(progress=float("inf"))
    async with watchers() as [watcher]:
        await watch(watcher)
        hubs.current().feed.mark(bad.job_id)
        await job.amark_started()
        await watcher.until(has_told("job-1", "in_progress"))
    assert {job_id for frame in told(watcher) for job_id, _ in frame} == {"job-1"}
    assert any("bad" in line for line in logged.of("progress.delivery.feed"))


@of_each_that_can_not_be_shown
async def test_feed__a_bad_row_harms_itself_only(unheard, no_sweep, bad):
    jobs = [await a_job(name) for name in ("job-1", "bad", "job-2")]
    await run(spoil)("bad", bad)
    async with watchers() as [watcher]:
        await watch(watcher)
        assert {job_id for frame in told(watcher) for job_id, _ in frame} == {"job-1", "job-2"}
        await jobs[2].amark_started()
        for name in ("job-2", "bad"):
            hubs.current().feed.mark(name)
        await watcher.until(has_told("job-2", "in_progress"))
    assert {job_id for frame in told(watcher) for job_id, _ in frame} == {"job-1", "job-2"}


async def test_tell__more_changes_than_one_query_takes(no_sweep, monkeypatch):
    monkeypatch.setattr(feed, "CHANGES", 2)
    monkeypatch.setattr(selectors, "MAX_IDS", 1)
    jobs = [await a_job(f"job-{number}") for number in range(5)]
    async with watchers() as [watcher]:
        await watch(watcher)
        for job in jobs:
            await job.amark_started()
        for number in range(5):
            await watcher.until(has_told(f"job-{number}", "in_progress"))
    assert len([change for frame in told(watcher)[1:] for change in frame]) == 5


async def test_add__who_comes_while_changes_are_read_is_not_shown_what_is_older(no_sweep, monkeypatch):
    """The read is newer than the first answer, and for all others the change has been told with it."""
    job, read = await a_job(), reads.in_thread
    reading, passing = asyncio.Event(), asyncio.Event()

    async def slow(function: Any, *args: Any) -> Any:
        if function is feed._read and not reading.is_set():
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


async def test_tell__more_changes_at_once_than_are_read_at_a_time(alone, monkeypatch):
    monkeypatch.setattr(feed, "CHANGES", 2)
    made, watcher = alone
    for number in range(5):
        await a_job(f"job-{number}")
    for number in range(5):
        made.mark(f"job-{number}")
    for number in range(5):
        await watcher.until(has_told(f"job-{number}", "pending"))


async def test_layer__brings_word_of_what_has_changed(unheard, no_sweep, layer):
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await layer.inbox.put({"type": "of another version"})
        await layer.inbox.put(feed_message(["job-1"]))
        await watcher.until(has_told("job-1", "in_progress"))

"""The feeds and what goes wrong: a database, a policy, a row."""

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError

from jobs import selectors
from jobs.access import AccessPolicy
from jobs.models import ProcessingJob
from progress.delivery import feed, hubs, tasks
from progress.protocol.exceptions import Refused
from tests.jobs.bad_rows import of_each_that_can_not_be_shown, spoil
from tests.progress.delivery.feeds import a_job, has_told, told, watch
from tests.progress.watching import run, watchers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick_feed")]


async def test_tell__tries_again_after_a_database_error(no_sweep, settings, monkeypatch, logged):
    settings.PROGRESS_FEED_OVERLAP_SECONDS = 0.001  # no sweep finds it
    job, read, failures = await a_job(), selectors.get_jobs, [OperationalError("away")]

    def fails_once(ids: Any) -> Any:
        if failures:
            raise failures.pop()
        return read(ids)

    monkeypatch.setattr(selectors, "get_jobs", fails_once)
    monkeypatch.setattr(tasks, "RESTART_SECONDS", 0.001)
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await watcher.until(has_told("job-1", "in_progress"))
    assert len(logged.of("progress.delivery.tasks")) == 1


async def test_subscribe__those_who_ask_a_silent_database_together_wait_no_longer_than_one(monkeypatch, logged):
    asked = []

    def silent(since: Any) -> Any:
        asked.append(since)
        raise OperationalError("no answer")

    monkeypatch.setattr(selectors, "jobs_changed_since", silent)
    async with watchers(4) as several:
        answers = await asyncio.gather(*map(watch, several), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Refused] * 4
    assert len(asked) == 1


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
    assert "team" in logged.of("progress.delivery.feed_reads")[0]


async def test_add__a_policy_that_raises_is_unavailable(no_sweep, monkeypatch):
    def fails(*_: Any) -> Any:
        raise KeyError("team")

    monkeypatch.setattr(AccessPolicy, "recent", fails)
    async with watchers() as [watcher]:
        with pytest.raises(Refused) as refused:
            await watch(watcher)
        assert refused.value.temporary
        assert not hubs.current().feed.is_watched


@of_each_that_can_not_be_shown
async def test_feed__a_bad_row_is_not_read_again_at_each_question_of_access(unheard, no_sweep, bad, logged):
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await a_job("bad")
        await run(spoil)("bad", bad)
        await job.amark_started()
        for name in ("bad", "job-1"):
            hubs.current().feed.mark(name)
        await watcher.until(has_told("job-1", "in_progress"))  # both were read
        for _ in range(4):
            await hubs.current().guard.check()
        await job.amark_completed()
        hubs.current().feed.mark("job-1")
        await watcher.until(has_told("job-1", "completed"))  # and what the guard asked for as well
    assert len([line for line in logged.of("progress.delivery.feed_reads") if "bad" in line]) <= 1
    assert {job_id for frame in told(watcher) for job_id, _ in frame} == {"job-1"}


async def test_feed__a_bad_row_that_nobody_was_shown_leaves_no_list(no_sweep):
    await a_job()
    await a_job("bad")
    await run(ProcessingJob.objects.filter(pk="bad").update)(progress=float("inf"))
    async with watchers() as [watcher]:
        await watch(watcher)
        await run(ProcessingJob.objects.filter(pk__in=["bad", "job-1"]).update)(public=False)
        await hubs.current().guard.check()
        assert [frame["subject"] for frame in watcher.frames if frame["type"] == "error"] == ["job-1"]


async def test_feed__a_row_that_can_not_be_shown_is_left_out(no_sweep, logged):
    job, bad = await a_job(), await a_job("bad")
    await run(ProcessingJob.objects.filter(pk="bad").update)(progress=float("inf"))
    async with watchers() as [watcher]:
        await watch(watcher)
        hubs.current().feed.mark(bad.job_id)
        await job.amark_started()
        await watcher.until(has_told("job-1", "in_progress"))
    assert {job_id for frame in told(watcher) for job_id, _ in frame} == {"job-1"}
    assert any("bad" in line for line in logged.of("progress.delivery.feed_reads"))


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

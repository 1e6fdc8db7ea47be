"""The feeds: which changes they tell, and to whom."""

import pytest
from django.contrib.auth.models import User

from jobs import selectors
from progress.broker.messages import feed_message
from progress.delivery import feed, hubs
from tests.progress.delivery.feeds import a_job, has_told, told, watch
from tests.progress.watching import run, watchers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick_feed")]


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

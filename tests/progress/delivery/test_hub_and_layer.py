"""The hub and a channel layer, which may bring events, nothing, or trouble."""

import asyncio
from typing import Any

import pytest

from jobs.lifecycle import ProcessingJobLifecycle
from progress.broker import subscriber
from progress.broker.messages import ACCESS_GROUP, FEED_GROUP, access_message, job_message, publication_of
from progress.delivery import access_guard, hubs
from progress.protocol.codes import ErrorCode
from progress.protocol.exceptions import Refused
from tests.progress.hubs import JOB, a_job, seqs, watch
from tests.progress.watching import WAIT_SECONDS, eventually, watchers

pytestmark = pytest.mark.django_db(transaction=True)


async def test_layer__brings_events(unheard, no_sweep, layer):
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await job.amark_progress(5)
        await layer.inbox.put(job_message([publication_of(event) for event in unheard]))
        await watcher.until_seq(3)
    assert seqs(watcher) == [1, 2, 3]


@pytest.mark.parametrize("exists", [False, True])
async def test_layer__what_leads_nowhere_joins_no_group_and_is_read_together(calls, no_sweep, layer, exists):
    """A job that is not for the client takes the same way as one that there is not."""
    if exists:
        for number in range(100):
            await ProcessingJobLifecycle.acreate(f"job-{number}")
    async with watchers(10) as many:
        await eventually(lambda: hubs.current().subscriber.is_healthy)
        ids = [f"job-{number}" for number in range(100)]
        asked = [watch(each, job_id=job_id) for each, job_id in zip(many * 10, ids, strict=True)]
        refusals = await asyncio.gather(*asked, return_exceptions=True)
        assert {(refused.code, refused.close) for refused in refusals} == {(ErrorCode.JOB_NOT_FOUND, None)}
        assert calls["get_jobs"] == 1
        assert [group for _, group in layer.calls if group != ACCESS_GROUP] == []
    assert hubs.current().jobs == {}


async def test_layer__what_is_committed_while_the_group_is_joined_is_shown(unheard, no_sweep, layer):
    job = await a_job()
    async with watchers() as [watcher]:
        await eventually(lambda: hubs.current().subscriber.is_healthy)
        layer.passing = asyncio.Event()
        watching = asyncio.ensure_future(watch(watcher))
        await eventually(lambda: layer.calls)
        await job.amark_started()  # which nobody hears of: it is not joined yet
        layer.passing.set()
        await watching
        assert seqs(watcher) == [2]


@pytest.mark.parametrize("trouble", ["broken", "hangs"])
async def test_layer__in_trouble_events_come_from_the_log(unheard, settings, monkeypatch, trouble, layer):
    settings.PROGRESS_SYNC_SECONDS = 1000  # as behind a layer that works
    monkeypatch.setattr(subscriber, "ANSWER_SECONDS", 0.02)
    setattr(layer, trouble, True)
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await watcher.until_seq(2)


async def test_layer__that_brings_nothing_has_the_log_looked_into_at_once(unheard, no_sweep, monkeypatch, layer):
    monkeypatch.setattr(subscriber, "ANSWER_SECONDS", 0.01)
    monkeypatch.setattr(subscriber, "LAYER_RETRY_SECONDS", 0.01)
    layer.is_deaf = True
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await watcher.until_seq(2)


async def test_layer__lost_the_last_message(unheard, settings, layer):
    settings.PROGRESS_SYNC_SECONDS = 0.01
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await eventually(lambda: hubs.current().subscriber.is_healthy)
        await job.amark_started()
        await watcher.until_seq(2)


async def test_layer__brings_word_of_access_and_nothing_rests_on_what_it_says(layer, monkeypatch, asked_by_hand):
    monkeypatch.setattr(access_guard, "PAUSE_SECONDS", 0.01)
    async with watchers():
        checked = asyncio.Event()

        async def check() -> None:
            checked.set()

        monkeypatch.setattr(hubs.current().guard, "check", check)
        await eventually(lambda: ACCESS_GROUP in layer.groups)
        await layer.inbox.put({**access_message(), "user": 1, "public": True})
        await asyncio.wait_for(checked.wait(), WAIT_SECONDS)


async def test_feed__is_left_by_nobody_while_another_comes(no_sweep, monkeypatch, layer):
    """Each socket that goes asks whether anybody still watches the feed."""
    async with watchers(3) as [watcher, passing_by, failing]:
        await eventually(lambda: hubs.current().subscriber.is_healthy)
        changes = hubs.current().feed._changes

        async def slow(seconds: float) -> Any:
            hubs.current().leave(passing_by.connection)
            await eventually(lambda: not hubs.current().subscriber._leaving)
            return await changes(seconds)

        monkeypatch.setattr(hubs.current().feed, "_changes", slow)
        await hubs.current().subscribe_feed(watcher.connection, "all")
        assert layer.groups == {ACCESS_GROUP, FEED_GROUP}
        hubs.current().unsubscribe_feed(watcher.connection)
        await eventually(lambda: layer.groups == {ACCESS_GROUP})

        monkeypatch.setattr(hubs.current().feed, "_changes", lambda _: 1 / 0)
        with pytest.raises(Refused):
            await hubs.current().subscribe_feed(failing.connection, "all")
        await eventually(lambda: layer.groups == {ACCESS_GROUP})


async def test_unsubscribe__the_last_of_a_job_leaves_its_group(no_sweep, layer):
    """Though others are there: else the subscriptions in Redis would grow for as long as anybody is."""
    await a_job()
    async with watchers(2) as [one, other]:
        await eventually(lambda: hubs.current().subscriber.is_healthy)
        await watch(one)
        await watch(other)
        hubs.current().unsubscribe(one.connection, JOB)
        assert not hubs.current().subscriber._leaving
        hubs.current().unsubscribe(other.connection, JOB)
        await eventually(lambda: layer.groups == {ACCESS_GROUP})


async def test_leave__a_subscriber_that_is_being_left_is_left_though_others_come_and_go(layer):
    await a_job()
    async with watchers() as [watcher]:
        await eventually(lambda: hubs.current().subscriber.is_healthy)
        await watch(watcher)
        assert layer.groups == {ACCESS_GROUP, f"progress.job.{JOB}"}
        layer.passing = asyncio.Event()  # to leave the group takes a while
    async with watchers():
        pass
    layer.passing.set()
    await eventually(lambda: not layer.groups)

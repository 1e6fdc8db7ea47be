"""The hub, on the database, with what the channel layer does scripted."""

import asyncio
import threading
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError

from jobs import selectors
from jobs.access import AccessPolicy
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.states import EventKind
from progress.broker import layers, subscriber
from progress.broker.messages import FEED_GROUP, job_message, publication_of
from progress.delivery import hub, log_reader, reads, window
from progress.delivery.connection import Connection
from progress.delivery.log_reader import LogReader
from progress.delivery.sqlite_changes import DataVersion
from progress.protocol.codes import CloseCode, ErrorCode
from progress.protocol.exceptions import Refused
from progress.protocol.position import Position
from tests.jobs.bad_rows import of_each_that_can_not_be_shown, spoil
from tests.progress.hubs import JOB, NOBODY, a_job, offer, seqs, swept, watch
from tests.progress.watching import ScriptedLayer, Watcher, eventually, run, watchers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def calls(monkeypatch):
    """How often each selector was asked."""
    counted: dict[str, int] = {}

    def count(name: str) -> None:
        real = getattr(selectors, name)

        def counting(*args: Any, **options: Any) -> Any:
            counted[name] = counted.get(name, 0) + 1
            return real(*args, **options)

        monkeypatch.setattr(selectors, name, counting)

    for name in ("get_jobs", "events_between", "heads"):
        count(name)
    return counted


# Many at once


async def test_subscribe__a_hundred_at_once_read_the_job_once(calls, no_sweep, monkeypatch):
    layer = ScriptedLayer()
    monkeypatch.setattr(layers, "get_channel_layer", lambda: layer)
    job = await a_job(ticks=5)
    async with watchers(100) as many:
        since = Position(job.job.epoch, 3)
        await asyncio.gather(*[watch(each, since) for each in many])
        assert all(seqs(each) == [4, 5, 6, 7, 7] for each in many)
        assert calls["get_jobs"] == 1
        assert calls["events_between"] == 1
        assert layer.calls == [("add", f"progress.job.{JOB}")]
    assert hub.current().jobs == {}


async def test_subscribe__far_behind_is_read_for_itself(calls, settings):
    settings.PROGRESS_RING_EVENTS = 2
    job = await a_job(ticks=10)
    async with watchers(2) as [far, near]:
        await watch(far, Position(job.job.epoch, 1))
        await watch(near, Position(job.job.epoch, 11))
    assert seqs(far) == [*range(2, 13), 12]
    assert seqs(near) == [12, 12]
    assert calls["events_between"] == 2, "a page each: nobody else was about to replay when the second came"


async def test_subscribe__pruned_while_it_reads(unheard, no_sweep, settings, monkeypatch):
    settings.PROGRESS_RING_EVENTS = 2
    job, read = await a_job(ticks=10), selectors.events_between

    def prune_first(*args: Any) -> Any:
        JobEvent.objects.filter(seq__lte=6).delete()
        return read(*args)

    monkeypatch.setattr(selectors, "events_between", prune_first)
    async with watchers() as [watcher]:
        await watch(watcher, Position(job.job.epoch, 3))
    (frame,) = watcher.frames
    assert (frame["seq"], frame["recovered"]) == (12, False)


async def test_subscribe__behind_what_the_client_has_seen_catches_up_first(unheard, no_sweep):
    """The client comes from another server, which was faster."""
    job = await a_job(ticks=1)
    async with watchers(2) as [first, second]:
        await watch(first)
        await job.amark_progress(50)
        await watch(second, Position(job.job.epoch, 4))
    (frame,) = second.frames
    assert (frame["seq"], frame["recovered"]) == (4, True)


@pytest.mark.parametrize("seen", [8, 9])
async def test_subscribe__behind_what_the_client_has_seen_by_more_than_a_round(unheard, no_sweep, monkeypatch, seen):
    monkeypatch.setattr(log_reader, "ROUND_EVENTS", 2)
    job = await a_job(ticks=1)
    async with watchers(2) as [first, second]:
        await watch(first)
        for step in range(6):
            await job.amark_progress(step)
        await watch(second, Position(job.job.epoch, seen))
    assert [frame["seq"] for frame in second.frames] == [*range(seen + 1, 10), 9]
    assert second.frames[-1]["recovered"] is True


@pytest.mark.parametrize("layer", [None, ScriptedLayer], ids=["no layer", "layer"])
async def test_leave__stops_the_hub(monkeypatch, layer):
    monkeypatch.setattr(layers, "configured", layer or (lambda: None))
    await a_job()
    before = asyncio.all_tasks()
    async with watchers(2) as [one, other]:
        await watch(one)
        await watch(other)
        assert asyncio.all_tasks() > before
    assert hub.current().jobs == {}
    await eventually(lambda: asyncio.all_tasks() == before)


@pytest.fixture
def lively(settings, monkeypatch):
    """All that the hub does of itself, it does soon."""
    settings.PROGRESS_SWEEP_SECONDS = settings.PROGRESS_SYNC_SECONDS = settings.PROGRESS_HEARTBEAT_SECONDS = 0.01
    monkeypatch.setattr(DataVersion, "of_database", lambda: None)


async def watch_all(watcher: Watcher) -> None:
    await watch(watcher)
    await hub.current().subscribe_feed(watcher.connection, NOBODY, "all")


async def all_comes(watcher: Watcher, change: Awaitable[None]) -> None:
    """Wait until a change of status that nobody tells of has come, of the job and in the feed; and a heartbeat."""
    del watcher.frames[:]
    await change
    await watcher.until(lambda frames: {"progress", "feed", "heartbeat"} <= {frame["type"] for frame in frames})


async def test_leave__of_one_lets_the_hub_go_on(unheard, lively):
    job = await a_job()
    async with watchers(2) as [one, other]:
        await watch_all(other)
        hub.current().leave(one.connection)
        await all_comes(other, job.amark_started())


async def test_enter__again_after_it_stopped(unheard, lively, monkeypatch):
    layer = ScriptedLayer()
    monkeypatch.setattr(layers, "get_channel_layer", lambda: layer)
    job = await a_job()
    for change in (job.amark_queued, job.amark_started):
        async with watchers() as [watcher]:
            await watch_all(watcher)
            await eventually(lambda: hub.current().subscriber.is_whole)
            await all_comes(watcher, change())


async def test_put__an_event_that_can_not_be_encoded_takes_no_other_along(unheard, no_sweep):
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        here = hub.current()
        here.put(replace(unheard[-1], job_id="other", progress=float("inf")))
        here.put(unheard[-1])
        await watcher.until_seq(2)


async def test_offer__what_joins_on_asks_nothing_of_the_database(calls, no_sweep):
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        calls.clear()
        await job.amark_started()
        await job.amark_progress(1)
        await watcher.until_seq(3)
        await asyncio.sleep(0.05)
    assert calls == {}


async def test_answer__is_made_once_for_all_who_resume_from_the_same_event(no_sweep):
    job = await a_job(ticks=3)
    since = Position(job.job.epoch, 3)
    async with watchers() as [watcher]:
        await watch(watcher, since)
        watched = hub.current().jobs[JOB]
        answers = []
        for logs in (False, False, True):
            missed = await watched.missed_since(since)
            answers.append(watched._answer(missed, logs=logs, is_asked=True))
        assert answers[0] is answers[1]


async def test_put__a_burst_wakes_the_loop_once_and_a_closed_one_never(unheard, no_sweep, monkeypatch):
    job = await a_job(ticks=3)
    async with watchers() as [watcher]:
        await watch(watcher, Position(job.job.epoch, 1))
        here, calls = hub.current(), []
        monkeypatch.setattr(here.loop, "call_soon_threadsafe", calls.append)
        for event in unheard:
            here.put(event)
        assert calls == [here._take_arrived]
        calls.pop()()
        here.put(unheard[-1])
        assert calls == [here._take_arrived]
        calls.pop()()
        monkeypatch.setattr(here.loop, "is_closed", lambda: True)
        here.put(unheard[-1])
        assert calls == []
        monkeypatch.undo()


# With a channel layer


async def test_put__a_flood_leaves_others_their_turns(unheard, no_sweep):
    job = await ProcessingJobLifecycle.acreate(JOB, public=True)
    await job.amark_started()
    async with watchers(1):
        taken = []
        for _ in range(1000):
            hub.current().put(unheard[-1])
        while hub.current()._arrived:
            before = len(hub.current()._arrived)
            await asyncio.sleep(0)
            taken.append(before - len(hub.current()._arrived))
        assert sum(taken) == 1000
        assert max(taken) <= hub.ARRIVALS_A_TURN


async def test_layer__brings_events(unheard, no_sweep, monkeypatch):
    layer = ScriptedLayer()
    monkeypatch.setattr(layers, "get_channel_layer", lambda: layer)
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await job.amark_progress(5)
        await layer.inbox.put(job_message([publication_of(event) for event in unheard]))
        await watcher.until_seq(3)
    assert seqs(watcher) == [1, 2, 3]


@pytest.mark.parametrize("trouble", ["broken", "hangs"])
async def test_layer__in_trouble_events_come_from_the_log(unheard, settings, monkeypatch, trouble):
    settings.PROGRESS_SYNC_SECONDS = 1000  # as behind a layer that works
    monkeypatch.setattr(subscriber, "ANSWER_SECONDS", 0.02)
    layer = ScriptedLayer()
    setattr(layer, trouble, True)
    monkeypatch.setattr(layers, "get_channel_layer", lambda: layer)
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await watcher.until_seq(2)


async def test_layer__that_brings_nothing_has_the_log_looked_into_at_once(unheard, no_sweep, monkeypatch):
    monkeypatch.setattr(subscriber, "ANSWER_SECONDS", 0.01)
    monkeypatch.setattr(subscriber, "RETRY_SECONDS", 0.01)
    layer = ScriptedLayer()
    layer.is_deaf = True
    monkeypatch.setattr(layers, "get_channel_layer", lambda: layer)
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await watcher.until_seq(2)


async def test_layer__lost_the_last_message(unheard, settings, monkeypatch):
    settings.PROGRESS_SYNC_SECONDS = 0.01
    layer = ScriptedLayer()
    monkeypatch.setattr(layers, "get_channel_layer", lambda: layer)
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await eventually(lambda: hub.current().subscriber.is_whole)
        await job.amark_started()
        await watcher.until_seq(2)


async def test_feed__is_left_by_nobody_while_another_comes(no_sweep, monkeypatch):
    """Each socket that goes asks whether anybody still watches the feed."""
    layer = ScriptedLayer()
    monkeypatch.setattr(layers, "get_channel_layer", lambda: layer)
    async with watchers(3) as [watcher, passing_by, failing]:
        await eventually(lambda: hub.current().subscriber.is_whole)
        changes = hub.current().feed._changes

        async def slow() -> Any:
            hub.current().leave(passing_by.connection)
            await eventually(lambda: not hub.current().subscriber._leaving)
            return await changes()

        monkeypatch.setattr(hub.current().feed, "_changes", slow)
        await hub.current().subscribe_feed(watcher.connection, NOBODY, "all")
        assert layer.groups == {FEED_GROUP}
        hub.current().unfeed(watcher.connection)
        await eventually(lambda: layer.groups == set())

        monkeypatch.setattr(hub.current().feed, "_changes", lambda: 1 / 0)
        with pytest.raises(Refused):
            await hub.current().subscribe_feed(failing.connection, NOBODY, "all")
        await eventually(lambda: layer.groups == set())


# The hubs of the process


def test_current__forgets_loops_that_are_closed():
    async def mine() -> hub.Hub:
        return hub.current()

    first, second = asyncio.run(mine()), asyncio.run(mine())
    assert first is not second
    assert first not in hub._hubs.values()


async def test_interested__only_in_what_is_watched():
    await a_job()
    async with watchers() as [watcher]:
        assert hub.interested(JOB, EventKind.STATUS) == []
        await watch(watcher)
        assert hub.interested(JOB, "tick") == [hub.current()]
        assert hub.interested("another", EventKind.STATUS) == []
        await hub.current().subscribe_feed(watcher.connection, NOBODY, "all")
        assert hub.interested("another", EventKind.STATUS) == [hub.current()]
        assert hub.interested("another", "tick") == []
    assert hub.interested(JOB, "tick") == []


@pytest.mark.django_db(transaction=True)
def test_deliver__a_hub_that_breaks_harms_no_job(monkeypatch, make_job):
    def breaks(*_: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(hub, "interested", breaks)
    job = make_job()
    job.mark_started()
    assert job.job.seq == 2


def test_interested__where_nobody_watches(monkeypatch):
    monkeypatch.setattr(hub, "_hubs", {})
    assert hub.interested(JOB, EventKind.STATUS) == []


async def test_unsubscribe__the_last_of_a_job_leaves_its_group(no_sweep, monkeypatch):
    """Though others are there: else the subscriptions in Redis would grow for as long as anybody is."""
    layer = ScriptedLayer()
    monkeypatch.setattr(layers, "get_channel_layer", lambda: layer)
    await a_job()
    async with watchers(2) as [one, other]:
        await eventually(lambda: hub.current().subscriber.is_whole)
        await watch(one)
        await watch(other)
        hub.current().unsubscribe(one.connection, JOB)
        assert not hub.current().subscriber._leaving
        hub.current().unsubscribe(other.connection, JOB)
        await eventually(lambda: layer.groups == set())


async def test_leave__a_link_that_is_being_left_is_left_though_others_come_and_go(monkeypatch):
    layer = ScriptedLayer()
    monkeypatch.setattr(layers, "get_channel_layer", lambda: layer)
    await a_job()
    async with watchers() as [watcher]:
        await eventually(lambda: hub.current().subscriber.is_whole)
        await watch(watcher)
        assert layer.groups == {f"progress.job.{JOB}"}
        layer.passing = asyncio.Event()  # to leave the group takes a while
    async with watchers():
        pass
    layer.passing.set()
    await eventually(lambda: not layer.groups)


async def test_subscribe__access_is_judged_on_the_row_as_it_is_now(unheard, no_sweep):
    job = await a_job()
    async with watchers(2) as [first, second]:
        await watch(first)
        await run(ProcessingJob.objects.filter(pk=JOB).update)(public=False)
        with pytest.raises(Refused, match="Job not found"):
            await watch(second)
        await first.until(lambda frames: frames[-1].get("code") == "job_not_found")
        await job.amark_started()
        for event in unheard[-1:]:
            offer(event)
        assert hub.current().jobs == {}
    assert [frame["type"] for frame in first.frames] == ["snapshot", "error"]


@pytest.mark.parametrize("answer", ["yes", "no", "raises"])
async def test_sweep__who_may_watch_is_asked_again_when_the_owner_changes(unheard, no_sweep, monkeypatch, answer):
    """Nothing is sent until that is known; then nothing is missing."""
    job = await a_job()
    owner = await run(User.objects.create_user)("ann")
    asking, passing = asyncio.Event(), threading.Event()

    def may_view(self: Any, user: Any, job: Any) -> bool:
        if job.owner_id is not None:
            hub_loop.call_soon_threadsafe(asking.set)
            assert passing.wait(10)
            if answer == "raises":
                raise RuntimeError("the policy fails")
        return answer == "yes" or job.owner_id is None

    hub_loop = asyncio.get_running_loop()
    monkeypatch.setattr(AccessPolicy, "may_view", may_view)
    async with watchers() as [watcher]:
        await watch(watcher)
        await run(ProcessingJob.objects.filter(pk=JOB).update)(owner=owner)
        await job.amark_started()
        hub.current().reader.sweep()
        await asking.wait()
        await job.alog("a line")
        await job.amark_progress(5)
        for event in unheard:
            offer(event)
        assert len(watcher.frames) == 1
        passing.set()
        await watcher.until(lambda frames: len(frames) > 1)
    told = [frame.get("seq", frame.get("code")) for frame in watcher.frames]
    assert told == {"yes": [1, 2, 4], "no": [1, "job_not_found"], "raises": [1, "unavailable"]}[answer]


async def test_subscribe__a_policy_that_raises_harms_its_own_subscription_only(no_sweep, monkeypatch, logged):
    job = await a_job()
    await ProcessingJobLifecycle.acreate("other", public=True)
    may_view = AccessPolicy.may_view

    def fails(self: Any, user: Any, job: Any) -> bool:
        if job.pk == "other":
            raise KeyError("team")
        return may_view(self, user, job)

    monkeypatch.setattr(AccessPolicy, "may_view", fails)
    async with watchers() as [watcher]:
        await watch(watcher)
        with pytest.raises(Refused) as refused:
            await watch(watcher, job_id="other")
        assert refused.value.temporary
        (said,) = logged.of("progress.delivery.admission")
        assert "other" in said
        assert "KeyError('team')" in said
        await job.amark_started()
        await watcher.until_seq(2)


@pytest.mark.parametrize("job_id", ["", "a b", "\x00", "x" * 65, "ä"])
async def test_subscribe__what_is_no_id_asks_no_database(calls, job_id):
    async with watchers() as [watcher]:
        with pytest.raises(Refused, match="Job not found"):
            await watch(watcher, job_id=job_id)
    assert calls == {}


async def test_subscribe__a_socket_may_come_back_to_as_many_jobs_as_it_likes():
    await a_job()
    async with watchers() as [watcher]:
        for _ in range(3):
            await watch(watcher)
            assert list(watcher.connection.watched) == [JOB]
            hub.current().unsubscribe(watcher.connection, JOB)
            assert list(watcher.connection.watched) == []


async def test_subscribe__what_the_database_says_is_logged(no_sweep, monkeypatch, logged):
    await a_job(ticks=3)
    job = await run(ProcessingJob.objects.get)()
    async with watchers() as [watcher]:
        await watch(watcher)

        def fails(*_: Any) -> Any:
            raise OperationalError("away for a while")

        monkeypatch.setattr(selectors, "events_between", fails)
        with pytest.raises(Refused) as refused:
            await watch(watcher, Position(job.epoch, 2))
    assert refused.value.temporary
    assert any("away for a while" in line for line in logged.of("progress.delivery.hub"))


async def test_subscribe__unknown_and_forbidden_take_equal_paths(unheard, no_sweep, monkeypatch):
    await ProcessingJobLifecycle.acreate("hidden")
    steps: list[str] = []
    in_thread, may_view = reads.in_thread, AccessPolicy.may_view

    async def noted(function: Any, *args: Any) -> Any:
        steps.append(function.__name__)
        return await in_thread(function, *args)

    def asked(self: Any, user: Any, job: Any) -> bool:
        steps.append("may_view")
        return may_view(self, user, job)

    monkeypatch.setattr(reads, "in_thread", noted)
    monkeypatch.setattr(AccessPolicy, "may_view", asked)
    taken = []
    async with watchers() as [watcher]:
        for job_id in ("hidden", "absent"):
            steps.clear()
            with pytest.raises(Refused, match="Job not found"):
                await watch(watcher, job_id=job_id)
            taken.append(list(steps))
    assert taken[0] == taken[1] == ["_rows_and_heads", "_answer", "may_view"]


# To subscribe again


async def test_subscribe__again_with_a_position_sends_nothing_twice(no_sweep):
    """What is on its way to the client when it asks is not sent once more."""
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await job.amark_progress(5)
        await watcher.until_seq(3)
        await watch(watcher, Position(job.job.epoch, 1))
        await job.amark_progress(6)
        await watcher.until_seq(4)
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == [
        ("snapshot", 1),
        ("progress", 2),
        ("progress", 3),
        ("snapshot", 3),
        ("progress", 4),
    ]


async def test_subscribe__again_from_before_the_subscription_replays_what_it_asks_for(no_sweep):
    job = await a_job(ticks=2)
    async with watchers() as [watcher]:
        await watch(watcher)
        await watch(watcher, Position(job.job.epoch, 2))
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames[1:]] == [
        ("progress", 3),
        ("progress", 4),
        ("snapshot", 4),
    ]


async def test_subscribe__again_after_the_job_was_begun_anew_sends_nothing_twice(unheard, no_sweep):
    job = await a_job(ticks=1)
    async with watchers() as [watcher]:
        await watch(watcher)
        await run(ProcessingJob.objects.filter(pk=JOB).delete)()
        job = await a_job(ticks=1)
        await swept()
        await job.amark_progress(50)
        await swept()
        await watch(watcher, Position(job.job.epoch, 3))
    assert seqs(watcher) == [3, 3, 4, 4]


async def test_subscribe__again_after_events_were_passed_over_sends_nothing_twice(unheard, no_sweep, settings):
    """What the client asks for was on its way when it came to a snapshot."""
    settings.PROGRESS_REPLAY_EVENTS = 3
    job = await a_job(ticks=1)
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_progress(1)
        await swept()
        for step in range(5):
            await job.amark_progress(step)
        await swept()
        settings.PROGRESS_REPLAY_EVENTS = 100
        await job.amark_progress(6)
        await swept()
        await watch(watcher, Position(job.job.epoch, 4))
    assert seqs(watcher) == [3, 4, 9, 10, 10]
    assert watcher.frames[-1]["recovered"] is False, "it has not got what was passed over"


async def test_subscribe__again_while_a_long_replay_is_under_way(no_sweep, monkeypatch):
    """What comes meanwhile comes after the replay, and once."""
    monkeypatch.setattr(window, "CHUNK_BYTES", 1)
    job = await a_job(ticks=5)
    async with watchers() as [watcher]:
        await watch(watcher)
        renew = LogReader.renew

        async def slow(*args: Any) -> None:
            await renew(*args)
            await job.amark_progress(50)

        monkeypatch.setattr(LogReader, "renew", slow)
        await watch(watcher, Position(job.job.epoch, 1))
        await job.amark_progress(60)
        await watcher.until_seq(9)
    assert seqs(watcher) == [7, *range(2, 9), 8, 9]


async def test_subscribe__again_with_log_lines(no_sweep):
    job = await a_job(ticks=1)
    await job.alog("a line")
    async with watchers() as [watcher]:
        await watch(watcher)
        await watch(watcher, Position(job.job.epoch, 3), logs=True)
        await job.alog("another")
        await watcher.until_seq(5)
        await watch(watcher, Position(job.job.epoch, 5))
        await job.alog("unseen")
        await job.amark_progress(5)
        await watcher.until_seq(7)
    assert [frame["type"] for frame in watcher.frames] == [
        *("snapshot", "log", "snapshot", "log", "snapshot", "progress"),
    ]


async def test_subscribe__again_after_a_recovery_sends_nothing_twice(no_sweep):
    job = await a_job(ticks=2)
    async with watchers() as [watcher]:
        await watch(watcher, Position(job.job.epoch, 2))
        await watch(watcher, Position(job.job.epoch, 3))
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == [
        *(("progress", 3), ("progress", 4), ("snapshot", 4)),
        ("snapshot", 4),
    ]


async def test_subscribe__who_may_watch_has_changed_while_it_waited_for_the_socket(unheard, no_sweep, monkeypatch):
    await a_job(ticks=1)
    async with watchers() as [watcher]:
        ready = Connection.ready

        async def hidden_meanwhile(self: Connection) -> None:
            monkeypatch.setattr(Connection, "ready", ready)
            await run(ProcessingJob.objects.filter(pk=JOB).update)(public=False)
            await swept()

        monkeypatch.setattr(Connection, "ready", hidden_meanwhile)
        with pytest.raises(Refused, match="Job not found"):
            await watch(watcher)
    assert watcher.frames == []


@pytest.mark.parametrize("is_addressed", [True, False])
async def test_sweep__what_can_not_be_shown_ends_a_socket_that_has_no_other_purpose(no_sweep, is_addressed):
    """It comes back, and asks again; any other socket asks when it likes."""
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher, is_addressed=is_addressed)
        await run(ProcessingJob.objects.update)(epoch="another", progress=float("inf"))
        await swept()
        await watcher.until(lambda frames: frames[-1].get("code") == "unavailable")
        await eventually(lambda: watcher.codes == ([CloseCode.RESYNC] if is_addressed else []))
    assert job.job_id == JOB


@of_each_that_can_not_be_shown
async def test_subscribe__a_bad_row_harms_itself_only(unheard, no_sweep, bad):
    """Nor do its events, for those who resume or are watching already."""
    jobs = {name: await ProcessingJobLifecycle.acreate(name, public=True) for name in ("bad", JOB)}
    epoch = jobs["bad"].job.epoch
    async with watchers(3) as [watcher, early, late]:
        await watch(early, job_id="bad")
        await watch(early)
        for job in jobs.values():
            await job.amark_started()
        await run(spoil)("bad", bad)
        await swept()
        for since in (None, Position(epoch, 1)):
            with pytest.raises(Refused) as refused:
                await watch(late, since, job_id="bad")
            assert refused.value.code == ErrorCode.UNAVAILABLE
        await watch(watcher)
        await jobs[JOB].amark_progress(50)
        await swept()
        for each in (watcher, early):
            await each.until(lambda frames: frames[-1].get("progress") == 50)
        assert [frame["code"] for frame in early.frames if frame["type"] == "error"] == ["unavailable"]


async def test_answer__of_who_was_stopped_is_no_other_ones(no_sweep):
    """They can be as long as an answer with a snapshot, and begin with the same event."""
    job = await a_job(ticks=2)
    async with watchers() as [watcher]:
        await watch(watcher, Position(job.job.epoch, 2))
        watched = hub.current().jobs[JOB]
        events = await watched.missed_since(Position(job.job.epoch, 2))
        with watched.in_demand():
            for missed, is_asked in ((events, False), (events[:1], True), (events, False)):
                frames = [
                    frame for chunk, _ in watched._answer(missed, logs=False, is_asked=is_asked) for frame in chunk
                ]
                assert [frame.seq for frame in frames] == [3, 4]
                assert ('"snapshot"' in frames[-1].text) is is_asked


async def test_answer__with_log_lines_is_none_without(no_sweep):
    """All end alike; two begin alike, and two are equally long."""
    job = await a_job(ticks=1)
    await job.alog("a line")
    await job.amark_progress(5)
    async with watchers(4) as [here_first, *resuming]:
        await watch(here_first)
        with hub.current().jobs[JOB].in_demand():
            for watcher, (after, logs) in zip(resuming, [(2, True), (2, False), (3, True)], strict=True):
                await watch(watcher, Position(job.job.epoch, after), logs=logs)
    assert [seqs(watcher) for watcher in resuming] == [[3, 4, 5, 5], [3, 5, 5], [4, 5, 5]]


@pytest.mark.parametrize(("missed", "recovered"), [(3, True), (4, False)])
async def test_subscribe__as_far_behind_as_may_be_and_no_event_further(settings, missed, recovered):
    settings.PROGRESS_REPLAY_EVENTS = 3
    job = await a_job(ticks=5)
    async with watchers() as [watcher]:
        await watch(watcher, Position(job.job.epoch, 7 - missed))
    assert watcher.frames[-1]["recovered"] is recovered
    assert seqs(watcher) == ([5, 6, 7, 7] if recovered else [7])


async def test_subscribe__again_after_access_was_asked_anew_sends_nothing_twice(no_sweep):
    """The subscription went on; so it still begins where it began."""
    job = await a_job()
    owner = await run(User.objects.create_user)("ann")
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await run(ProcessingJob.objects.filter(pk=JOB).update)(owner=owner)
        await swept()
        await job.amark_progress(5)
        await watcher.until_seq(3)
        await watch(watcher, Position(job.job.epoch, 1))
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == [
        ("snapshot", 1),
        ("progress", 2),
        ("progress", 3),
        ("snapshot", 3),
    ]


async def test_subscribe__again_while_access_was_asked_anew_sends_nothing_twice(unheard, no_sweep, monkeypatch):
    """It was stopped, and a part of what it missed has been sent."""
    monkeypatch.setattr(window, "CHUNK_BYTES", 1)
    job = await a_job()
    owner = await run(User.objects.create_user)("ann")
    async with watchers() as [watcher]:
        await watch(watcher)
        for step in range(3):
            await (job.amark_progress(step) if step else job.amark_started())
        await run(ProcessingJob.objects.filter(pk=JOB).update)(owner=owner)
        ready, passing = Connection.ready, asyncio.Event()

        async def waits(self: Connection) -> None:
            if len(watcher.frames) == 2:
                await passing.wait()
            await ready(self)

        monkeypatch.setattr(Connection, "ready", waits)
        await swept()
        await watcher.until_seq(2)
        monkeypatch.setattr(Connection, "ready", ready)
        await watch(watcher, Position(job.job.epoch, 1))
        passing.set()
        await job.amark_progress(3)
        await swept()
        await watcher.until_seq(5)
    assert seqs(watcher) == [1, 2, 3, 4, 4, 5]

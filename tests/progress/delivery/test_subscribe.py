"""To subscribe: who may, and what is sent."""

from typing import Any

import pytest
from django.db import OperationalError

from jobs import selectors
from jobs.access import AccessPolicy
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from progress.delivery import hubs, reads
from progress.delivery.connection import Connection
from progress.protocol.codes import ErrorCode
from progress.protocol.exceptions import Refused
from progress.protocol.position import Position
from tests.jobs.bad_rows import of_each_that_can_not_be_shown, spoil
from tests.progress.hubs import JOB, a_job, offer, seqs, swept, watch
from tests.progress.watching import run, watchers

pytestmark = pytest.mark.django_db(transaction=True)


async def test_answer__is_made_once_for_all_who_resume_from_the_same_event(no_sweep):
    job = await a_job(ticks=3)
    since = Position(job.job.epoch, 3)
    async with watchers() as [watcher]:
        await watch(watcher, since)
        watched = hubs.current().jobs[JOB]
        answers = [watched._answers.of(await watched.missed_since(since), frozenset()) for _ in range(2)]
        assert answers[0] is answers[1]


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
        assert hubs.current().jobs == {}
    assert [frame["type"] for frame in first.frames] == ["snapshot", "error"]


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
            hubs.current().unsubscribe(watcher.connection, JOB)
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
    assert taken[0] == taken[1] == ["_rows_and_heads", "_may_view", "may_view"]


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
        watched = hubs.current().jobs[JOB]
        events = await watched.missed_since(Position(job.job.epoch, 2))
        snapshot = watched._window.snapshot(recovered=True)
        with watched.subscribing():
            for wanted in (events, [events[0], snapshot], events):
                answer = watched._answers.of(wanted, frozenset())
                assert [frame for chunk in answer for frame in chunk.frames] == wanted


async def test_answer__with_log_lines_is_none_without(no_sweep):
    """All end alike; two begin alike, and two are equally long."""
    job = await a_job(ticks=1)
    await job.alog("a line")
    await job.amark_progress(5)
    async with watchers(4) as [here_first, *resuming]:
        await watch(here_first)
        with hubs.current().jobs[JOB].subscribing():
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

"""The log lines before a snapshot: which they are."""

import asyncio
from typing import Any

import pytest
from django.db import connection

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from progress.delivery import backscroll, hubs, reads
from progress.protocol.exceptions import Refused
from progress.protocol.position import Position
from tests.jobs.bad_rows import UNREADABLE
from tests.progress.delivery.lines import add, got
from tests.progress.hubs import JOB, a_job, swept, watch
from tests.progress.watching import run, watchers

pytestmark = pytest.mark.django_db(transaction=True)


async def test_lines_before__in_order_then_the_snapshot_then_what_comes(no_sweep):
    job = await a_job()
    await add("ltltl", "line ")
    async with watchers() as [watcher]:
        await watch(watcher, logs=True)
        await ProcessingJobLifecycle(JOB).alog("new")
        await watcher.until_seq(7)
    assert got(watcher) == ["backscroll", 2, 4, 6, "snapshot", 7]
    assert watcher.frames[0] == {"type": "backscroll", "subject": JOB, "epoch": job.job.epoch}
    assert [frame["text"] for frame in watcher.frames if frame["type"] == "log"] == [
        "line 2",
        "line 4",
        "line 6",
        "new",
    ]
    assert (watcher.frames[4]["seq"], watcher.frames[4]["recovered"]) == (6, False)


async def test_lines_before__the_last_ones_and_that_there_were_others(monkeypatch):
    monkeypatch.setitem(backscroll.MOST_EVENTS, "log", 3)
    await a_job()
    async with watchers(2) as [all_of_them, some]:
        await add("lll", "")
        await watch(all_of_them, logs=True)
        await add("tltt", "")
        await watch(some, logs=True)
    assert got(all_of_them)[:5] == ["backscroll", 2, 3, 4, "snapshot"]
    assert "cut" not in all_of_them.frames[0]
    assert got(some) == ["backscroll", 3, 4, 6, "snapshot"]
    assert some.frames[0]["cut"] == ["log"]


async def test_lines_before__no_more_bytes_than_may_be():
    await a_job()
    await add("l" * 300, "€" * 2_000)
    async with watchers() as [watcher]:
        await watch(watcher, logs=True)
    lines = got(watcher)[1:-1]
    assert lines == list(range(302 - len(lines), 302))
    assert 150 < len(lines) < backscroll.MOST_BYTES["log"] / 6_000
    assert watcher.frames[0]["cut"] == ["log"]


async def test_lines_before__none_for_who_does_not_want_them(asked):
    await a_job()
    await add("lll", "")
    async with watchers() as [watcher]:
        await watch(watcher)
    assert got(watcher) == ["snapshot"]
    assert asked == []


async def test_lines_before__a_replay_has_them_and_they_come_once(asked):
    job = await a_job()
    await add("ltl", "")
    async with watchers() as [watcher]:
        await watch(watcher, Position(job.job.epoch, 2), logs=True)
    assert got(watcher) == [3, 4, "snapshot"]
    assert asked == []


async def test_lines_before__from_a_position_that_is_not_kept_only_those_after_it(asked):
    """What was trimmed are ticks."""
    job = await a_job()
    await add("ltltlt", "")
    await run(ProcessingJob.objects.update)(floor=6)
    await run(JobEvent.objects.filter(kind="tick").delete)()
    async with watchers() as [watcher]:
        await watch(watcher, Position(job.job.epoch, 2), logs=True)
    assert got(watcher) == ["backscroll", 4, 6, "snapshot"]
    assert watcher.frames[-1]["recovered"] is False
    assert asked == [(2, 7)]


@pytest.mark.parametrize("since", [Position("another", 5), Position("", 10**9)])
async def test_lines_before__from_a_position_that_never_was_all(since):
    job = await a_job()
    await add("lll", "")
    async with watchers() as [watcher]:
        await watch(watcher, since._replace(epoch=since.epoch or job.job.epoch), logs=True)
    assert got(watcher) == ["backscroll", 2, 3, 4, "snapshot"]


async def test_lines_before__are_read_once_for_all_who_come_together(asked):
    await a_job()
    await add("l" * 50, "")
    async with watchers(20) as all_of_them:
        await asyncio.gather(*(watch(each, logs=True) for each in all_of_them))
    assert all(got(each) == ["backscroll", *range(2, 52), "snapshot"] for each in all_of_them)
    assert asked == [(0, 51)]


@pytest.mark.parametrize("ring", [256, 1])
async def test_lines_before__whatever_is_written_meanwhile_comes_once(ring, monkeypatch, settings):
    settings.PROGRESS_RING_EVENTS = ring
    job = await a_job()
    await add("lt", "")
    job = ProcessingJobLifecycle(JOB)
    await job.amark_started()
    in_thread = reads.in_thread
    is_overtaken: list[bool] = []

    async def overtaken(function: Any, *args: Any) -> Any:
        answer = await in_thread(function, *args)
        if function is backscroll._page and not is_overtaken:
            is_overtaken.append(True)
            for step in range(4):
                await job.amark_progress(step)
                await job.alog("meanwhile")
            await swept()
        return answer

    monkeypatch.setattr(reads, "in_thread", overtaken)
    async with watchers(2) as [present, comes]:
        await watch(present)
        await watch(comes, logs=True)
    assert got(comes) == ["backscroll", 2, 6, 8, 10, 12, "snapshot"]
    assert comes.frames[-1]["seq"] == 12


async def test_lines__of_whom_is_brought_to_a_snapshot_are_all_there(unheard, no_sweep, settings):
    """Too much was missed to be read event by event."""
    settings.PROGRESS_REPLAY_EVENTS = 3
    job = await a_job()
    async with watchers(2) as [with_lines, plain]:
        await watch(with_lines, logs=True)
        await watch(plain)
        await job.alog("two")
        await swept()
        await add("tltltltl", "")
        await swept()
        await with_lines.until(lambda frames: frames[-1]["type"] == "snapshot" and frames[-1]["seq"] == 10)
        await ProcessingJobLifecycle(JOB).alog("last")
        await swept()
    assert got(with_lines) == ["backscroll", "snapshot", 2, "backscroll", 4, 6, 8, 10, "snapshot", 11]
    assert got(plain) == ["snapshot", "snapshot"]


async def test_lines__of_a_job_that_is_begun_anew(unheard, no_sweep):
    job = await a_job()
    await job.alog("old")
    async with watchers() as [watcher]:
        await watch(watcher, logs=True)
        await run(ProcessingJob.objects.filter(pk=JOB).delete)()
        job = await a_job()
        await job.alog("new")
        await swept()
        await watcher.until(lambda frames: frames[-1].get("epoch") == job.job.epoch and len(frames) == 6)
    assert got(watcher) == ["backscroll", 2, "snapshot", "backscroll", 2, "snapshot"]
    assert watcher.frames[3]["epoch"] == watcher.frames[5]["epoch"] == job.job.epoch


async def test_lines__asked_for_again_where_the_subscription_before_had_none(no_sweep):
    job = await a_job()
    await add("ltl", "")
    async with watchers() as [watcher]:
        await watch(watcher)
        await watch(watcher, logs=True)
        await watch(watcher, Position(job.job.epoch, 4), logs=True)
    assert got(watcher) == ["snapshot", "backscroll", 2, 4, "snapshot", "snapshot"]
    assert watcher.frames[-1]["recovered"] is True


async def test_lines_before__one_that_cannot_be_shown_harms_no_other():
    await a_job()
    await add("lll", "")
    await run(JobEvent.objects.filter(seq=3).update)(progress=500)
    async with watchers() as [watcher]:
        await watch(watcher, logs=True)
    assert got(watcher) == ["backscroll", 2, 4, "snapshot"]


def _make_unreadable(seq: int) -> None:
    (bad,) = UNREADABLE.values()
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {JobEvent._meta.db_table} SET metadata = %s WHERE seq = %s", [bad["metadata"], seq])


async def test_lines_before__a_row_that_cannot_be_read_is_unavailable():
    await a_job()
    await add("lll", "")
    await run(_make_unreadable)(3)
    async with watchers() as [watcher]:
        with pytest.raises(Refused, match="can't be read now"):
            await watch(watcher, logs=True)
        assert hubs.current().jobs == {}

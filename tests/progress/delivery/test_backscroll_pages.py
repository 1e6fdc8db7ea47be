"""What a client has missed of lines and output comes whole, however much it is, a page at a time."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.access import AccessPolicy
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from progress.delivery import backscroll, hubs, log_reader, reads
from progress.delivery.backscroll import Page
from progress.protocol.exceptions import Refused
from progress.protocol.frames import Frame
from progress.protocol.position import Position
from tests.progress.delivery.lines import add, got
from tests.progress.delivery.test_replay import Slow, slow_watcher
from tests.progress.hubs import JOB, a_job, swept, watch
from tests.progress.watching import eventually, run, watchers

pytestmark = pytest.mark.django_db(transaction=True)

BEHIND = 20_000  # events that a live watcher did not hear of


@pytest.fixture
def small_pages(monkeypatch) -> None:
    monkeypatch.setattr(backscroll, "PAGE_EVENTS", 7)


@pytest.fixture
def at_once(monkeypatch) -> Iterator[list[int]]:
    """How many pages are read at the same time, with each read."""
    reading: list[int] = []
    under_way = 0
    in_thread = reads.in_thread

    async def noted(function: Any, *args: Any) -> Any:
        nonlocal under_way
        if function is not backscroll._page:
            return await in_thread(function, *args)
        under_way += 1
        reading.append(under_way)
        try:
            return await in_thread(function, *args)
        finally:
            under_way -= 1

    monkeypatch.setattr(reads, "in_thread", noted)
    return reading


def held() -> int:
    """Return how many bytes of log lines are in memory.

    By ``type``, since ``isinstance`` has lazy objects of other tests make what they stand for.
    """
    gc.collect()
    frames = {id(each): each for each in gc.get_objects() if type(each) is Frame}
    return sum(len(frame.payload) for frame in frames.values() if frame.extra)


async def take_all(watcher: Slow, *coming: "asyncio.Future[None]") -> None:
    while not all(each.done() for each in coming):
        watcher.empty(room=1)
        await asyncio.sleep(0.001)


async def test_a_live_watcher_that_is_far_behind__gets_every_line_then_the_snapshot(unheard, no_sweep):
    await a_job()
    async with watchers(2) as [with_lines, plain]:
        await watch(with_lines, logs=True)
        await watch(plain)
        await add("lt" * (BEHIND // 2), "")
        await swept()
        await with_lines.until(lambda frames: frames[-1]["type"] == "snapshot" and len(frames) > 2)
        await ProcessingJobLifecycle(JOB).alog("last")
        await swept()
    lines = range(2, BEHIND + 2, 2)
    assert got(with_lines) == ["backscroll", "snapshot", "backscroll", *lines, "snapshot", BEHIND + 2]
    assert "cut" not in with_lines.frames[2]
    assert with_lines.frames[-2]["seq"] == BEHIND + 1
    assert got(plain) == ["snapshot", "snapshot"]


@pytest.mark.slow
async def test_many_live_watchers_that_are_far_behind__cost_as_few_reads_as_one(asked, unheard, no_sweep):
    await a_job()
    async with watchers(50) as all_of_them:
        for each in all_of_them:
            await watch(each, logs=True)
        asked.clear()
        await add("l" * 6_000, "")
        await swept()
        for each in all_of_them:
            await each.until(lambda frames: frames[-1]["type"] == "snapshot" and len(frames) > 2)
            assert got(each)[2:] == ["backscroll", *range(2, 6_002), "snapshot"]
    assert len(asked) == len(set(asked)) == 6_000 / backscroll.PAGE_EVENTS


async def test_from_a_position_whose_ticks_were_trimmed__all_of_both_kinds_in_order(small_pages, settings):
    settings.PROGRESS_REPLAY_EVENTS = 10
    job = await a_job()
    for number in range(40):
        await job.alog(f"line {number}")
        if number % 3 == 0:
            await job.aoutput(f"part {number}")
    last = 1 + 40 + 14
    await run(ProcessingJob.objects.update)(floor=last)
    async with watchers(2) as [both, lines]:
        await watch(both, Position(job.job.epoch, 4), logs=True, output=True)
        await watch(lines, Position(job.job.epoch, 4), logs=True)
    begun, *shown, snapshot = both.frames
    assert "cut" not in begun
    assert [frame["seq"] for frame in shown] == list(range(5, last + 1))
    assert (snapshot["seq"], snapshot["recovered"]) == (last, False)
    assert [frame["text"] for frame in lines.frames[1:-1]] == [f"line {number}" for number in range(2, 40)]


async def test_more_than_the_last_lines__for_who_has_a_position(small_pages, monkeypatch, settings):
    settings.PROGRESS_REPLAY_EVENTS = 10
    monkeypatch.setitem(backscroll.MOST_EVENTS, "log", 3)
    job = await a_job()
    await add("l" * 50, "")
    async with watchers(2) as [knows, new]:
        await watch(knows, Position(job.job.epoch, 11), logs=True)
        await watch(new, logs=True)
    assert got(knows) == ["backscroll", *range(12, 52), "snapshot"]
    assert "cut" not in knows.frames[0]
    assert got(new) == ["backscroll", 49, 50, 51, "snapshot"]
    assert new.frames[0]["cut"] == ["log"]


async def test_each_kind__begins_where_its_own_last_events_do(small_pages, monkeypatch):
    monkeypatch.setitem(backscroll.MOST_EVENTS, "log", 2)
    job = await a_job()
    for number in range(20):
        await job.alog("a line")
        await job.aoutput(str(number))
    async with watchers() as [watcher]:
        await watch(watcher, logs=True, output=True)
    begun, *shown, _ = watcher.frames
    assert begun["cut"] == ["log"]
    assert [frame["seq"] for frame in shown if frame["type"] == "output"] == list(range(3, 42, 2))
    assert [frame["seq"] for frame in shown if frame["type"] == "log"] == [38, 40]
    assert [frame["seq"] for frame in shown] == sorted(frame["seq"] for frame in shown)


async def test_who_asks_again_for_what_was_passed_over__gets_every_line_since(unheard, no_sweep, settings, monkeypatch):
    """It has not read yet what it was sent."""
    settings.PROGRESS_REPLAY_EVENTS = 3
    monkeypatch.setitem(backscroll.MOST_EVENTS, "log", 2)
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher, logs=True)
        await add("l" * 9, "")
        await swept()
        await watcher.until(lambda frames: frames[-1]["type"] == "snapshot" and len(frames) > 2)
        await watch(watcher, Position(job.job.epoch, 4), logs=True)
    assert got(watcher)[2:] == ["backscroll", *range(2, 11), "snapshot", "backscroll", *range(5, 11), "snapshot"]
    assert watcher.frames[-1]["recovered"] is False


@pytest.mark.slow
async def test_sockets_that_read_nothing__hold_a_page_each_at_most(settings):
    settings.PROGRESS_REPLAY_EVENTS = 10
    job = await a_job()
    await add("l" * 3_000, "m" * 1_000)
    gc.collect()
    async with slow_watcher() as first, slow_watcher() as second:
        slow = [(first, 1), (second, 2)]
        coming = [
            asyncio.ensure_future(watch(each, Position(job.job.epoch, seq), logs=True))  # type: ignore[arg-type]
            for each, seq in slow
        ]
        await eventually(lambda: JOB in hubs.current().jobs and len(hubs.current().jobs[JOB].backscroll._pages) == 2)
        await asyncio.sleep(0.05)
        assert 2 * backscroll.PAGE_BYTES * 0.9 < held() <= 2 * backscroll.PAGE_BYTES
        for each, _ in slow:
            for _ in range(10):  # a page and a half
                each.empty(room=1)
                await asyncio.sleep(0.01)
            each.chunks.clear()
            each.sent.clear()
        await asyncio.sleep(0.05)
        assert held() <= 2 * backscroll.PAGE_BYTES
        hubs.current().leave(first.connection)
        hubs.current().leave(second.connection)
        await asyncio.gather(*coming)
        del coming
    assert not [each for each in gc.get_objects() if type(each) is Page]


async def test_a_page__has_no_more_bytes_than_may_be_but_for_a_single_event(settings):
    job = await a_job()
    await job.aoutput("€" * 65_536)
    await job.aoutput("€" * 65_536)
    await add("l" * 300, "m" * 1_900)
    read = await run(backscroll._page)(JOB, backscroll.Span(job.job.epoch, 0, 303), {"output": 0, "log": 0})
    pages = [read]
    while read.upto < 303:
        after = {"output": read.upto, "log": read.upto}
        read = await run(backscroll._page)(JOB, backscroll.Span(job.job.epoch, read.upto, 303), after)
        pages.append(read)
    shown = [[frame for chunk in page.chunks for frame in chunk.frames] for page in pages]
    assert [frame.seq for frames in shown for frame in frames] == list(range(2, 304))
    assert all(len(frames) == 1 or sum(len(each.payload) for each in frames) <= 262_144 for frames in shown)
    assert len(pages) == 5


@pytest.mark.slow
async def test_pages__are_read_a_few_at_a_time_and_of_nobody_the_last(at_once, settings):
    """However many replay, who watches live finds a thread free; and each has its turn."""
    settings.PROGRESS_REPLAY_EVENTS = 10
    job = await a_job()
    await add("l" * 1_600, "")
    async with watchers(20) as all_of_them:
        await asyncio.gather(
            *(watch(each, Position(job.job.epoch, 1 + number), logs=True) for number, each in enumerate(all_of_them))
        )
    for number, each in enumerate(all_of_them):
        assert got(each) == ["backscroll", *range(2 + number, 1_602), "snapshot"]
    assert max(at_once) == log_reader.TURNS
    assert log_reader.TURNS < reads.MAX_THREADS


async def test_a_writer_that_goes_on__is_caught_up_with(small_pages, no_sweep, settings, monkeypatch):
    """Each page is read while more is written; the last of it is in memory."""
    settings.PROGRESS_REPLAY_EVENTS = 10
    job = await a_job()
    await add("l" * 100, "")
    in_thread = reads.in_thread

    async def overtaken(function: Any, *args: Any) -> Any:
        answer = await in_thread(function, *args)
        if function is backscroll._page:
            for _ in range(3):
                await ProcessingJobLifecycle(JOB).alog("meanwhile")
        return answer

    async with watchers(2) as [here, comes]:
        await watch(here)
        monkeypatch.setattr(reads, "in_thread", overtaken)
        await watch(comes, Position(job.job.epoch, 1), logs=True)
    *lines, snapshot = comes.frames[1:]
    assert [line["seq"] for line in lines] == list(range(2, snapshot["seq"] + 1))
    assert snapshot["seq"] > 120


async def test_access_that_ends_in_the_midst__ends_it_at_once(small_pages, settings, monkeypatch, asked):
    settings.PROGRESS_ACCESS_SECONDS = 0.02
    settings.PROGRESS_REPLAY_EVENTS = 10
    job = await a_job()
    await add("l" * 500, "m" * 1_000)
    async with slow_watcher() as watcher:
        coming = asyncio.ensure_future(watch(watcher, Position(job.job.epoch, 1), logs=True))  # type: ignore[arg-type]
        while watcher.count('"type":"log"') < 20:
            watcher.empty(room=1)
            await asyncio.sleep(0.001)
        monkeypatch.setattr(AccessPolicy, "may_view", lambda *_: False)
        await asyncio.sleep(0.03)
        shown, read = watcher.count('"type":"log"'), len(asked)
        await take_all(watcher, coming)
        with pytest.raises(Refused, match="Job not found"):
            await coming
        assert watcher.count('"type":"log"') == shown
        assert len(asked) <= read + 1
        assert not watcher.connection.turn.locked()


async def test_a_stream_that_is_begun_anew_in_the_midst__is_shown_from_its_own_beginning(
    small_pages, no_sweep, settings
):
    settings.PROGRESS_REPLAY_EVENTS = 10
    old = await a_job()
    await add("l" * 100, "")
    async with slow_watcher() as watcher:
        coming = asyncio.ensure_future(watch(watcher, Position(old.job.epoch, 1), logs=True))  # type: ignore[arg-type]
        while watcher.count('"type":"log"') < 20:
            watcher.empty(room=1)
            await asyncio.sleep(0.001)
        await run(JobEvent.objects.all().delete)()
        await run(ProcessingJob.objects.filter(pk=JOB).delete)()
        new = await a_job()
        await new.alog("new")
        await swept()
        await take_all(watcher, coming)
        await coming
        assert watcher.count(f'"type":"backscroll","subject":"{JOB}","epoch":"{new.job.epoch}"') == 1
        assert watcher.count('"text":"new"') == 1
        assert watcher.count('"type":"snapshot"') == 1

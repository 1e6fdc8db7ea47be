"""What a client gets that was away for long: every event, at its own speed, read once for all who ask."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.utils import timezone

from jobs.access import AccessPolicy
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from progress.delivery import chunks, hubs, log_reader, pages, reads
from progress.delivery.connection import Connection
from progress.protocol.codes import CloseCode
from progress.protocol.exceptions import Refused
from progress.protocol.frames import Frame, event_frame
from progress.protocol.position import Position
from tests.progress.hubs import JOB, a_job, seqs, watch
from tests.progress.senders import FakeSender
from tests.progress.watching import eventually, run, watchers

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = 3 * pages.PAGE_EVENTS + 50


def _add_events(count: int, message: str = "", kind: str = "stage") -> None:
    job = ProcessingJob.objects.get(pk=JOB)
    common: dict[str, Any] = {"job": job, "kind": kind, "status": job.status, "timestamp": timezone.now()}
    metadata = {"level": "info"} if kind == "log" else {}
    seqs = range(job.seq + 1, job.seq + count + 1)
    JobEvent.objects.bulk_create(
        JobEvent(seq=seq, message=message, progress=1.0, metadata=metadata, **common) for seq in seqs
    )
    ProcessingJob.objects.filter(pk=JOB).update(seq=job.seq + count)


add_events = run(_add_events)


@pytest.fixture
def spans(monkeypatch) -> Iterator[list[tuple[int, int]]]:
    """Which stretches of the log are read."""
    made: list[tuple[int, int]] = []
    in_thread = reads.in_thread

    async def noted(function: Any, *args: Any) -> Any:
        if function is log_reader._publications:
            made.extend((span.after, span.upto) for span in args[0].values())
        return await in_thread(function, *args)

    monkeypatch.setattr(reads, "in_thread", noted)
    return made


class Slow(FakeSender):
    """A watcher whose connection takes one chunk, then waits until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__(room=1)
        self.connection = Connection(self)

    def count(self, what: str) -> int:
        return "".join(self.sent).count(what)


@asynccontextmanager
async def slow_watcher() -> AsyncIterator[Slow]:
    """One who has entered the hub, and leaves it at the end."""
    made = Slow()
    hubs.current().enter(made.connection)
    try:
        yield made
    finally:
        hubs.current().leave(made.connection)


async def test_many_who_are_far_behind__cost_as_few_queries_as_one(spans):
    job = await a_job()
    await add_events(EVENTS)
    async with watchers(50) as all_of_them:
        await asyncio.gather(
            *(watch(each, Position(job.job.epoch, 1 + number)) for number, each in enumerate(all_of_them))
        )
    for number, each in enumerate(all_of_them):
        assert seqs(each) == [*range(2 + number, EVENTS + 2), EVENTS + 1]
        assert each.frames[-1]["recovered"] is True
    assert len(spans) == len(set(spans)) == 4  # pages


async def test_nothing_is_kept_after_the_last_replay():
    job = await a_job()
    await add_events(EVENTS)
    async with watchers(2) as [here, back]:
        await watch(here)
        await watch(back, Position(job.job.epoch, 1))
        assert hubs.current().jobs[JOB]._replay._pages is None


async def test_what_is_kept_meanwhile_is_bounded(spans, monkeypatch):
    monkeypatch.setattr(pages, "KEPT_BYTES", 1)
    job = await a_job()
    await add_events(EVENTS)
    async with watchers(2) as [first, second]:
        await watch(first)
        watched = hubs.current().jobs[JOB]
        with watched.subscribing():  # somebody else is under way
            await watch(first, Position(job.job.epoch, 1), logs=True)
            await watch(second, Position(job.job.epoch, 1))
            assert len(watched._replay._pages._kept) == 1
        assert watched._replay._pages is None
    assert seqs(first)[1:] == seqs(second) == [*range(2, EVENTS + 2), EVENTS + 1]
    assert spans.count((0, pages.PAGE_EVENTS)) == 2


async def test_a_replay_larger_than_the_outbox__goes_at_the_sockets_speed(settings):
    settings.PROGRESS_OUTBOX_BYTES = 100_000
    job = await a_job()
    await add_events(EVENTS, "m" * 1_000)
    async with slow_watcher() as watcher:
        replay = asyncio.ensure_future(watch(watcher, Position(job.job.epoch, 1)))
        written = 0
        while not replay.done():
            await eventually(lambda: len(watcher.chunks) > written or replay.done())  # noqa: B023
            written = len(watcher.chunks)
            watcher.empty(room=1)
        await replay
        assert watcher.codes == []
        assert watcher.count('"type":"progress"') == EVENTS
        assert watcher.count('"recovered":true') == 1
        assert len(watcher.chunks) > EVENTS * 1_000 / chunks.CHUNK_BYTES


async def test_a_socket_that_is_full__takes_what_waits_before_the_replay_begins():
    job = await a_job()
    await add_events(20, kind="tick")
    async with slow_watcher() as watcher:
        for number in range(3):
            watcher.connection.send(event_frame("other", number, "tick", f"{number}"))
        replay = asyncio.ensure_future(watch(watcher, Position(job.job.epoch, 1)))
        await asyncio.sleep(0.05)
        assert watcher.sent == ["0"]
        watcher.empty(room=1)  # takes one of what waits
        watcher.empty(room=1)
        await replay
        assert watcher.count('"type":"progress"') == 20
        assert watcher.count('"recovered":true') == 1


async def test_a_socket_that_is_stuck__ends_the_replay(settings):
    settings.PROGRESS_SEND_SECONDS = 0.05
    job = await a_job()
    await add_events(EVENTS, "m" * 1_000)
    async with slow_watcher() as watcher:
        await watch(watcher, Position(job.job.epoch, 1))
        await eventually(lambda: watcher.codes == [CloseCode.TOO_SLOW])
        assert len(watcher.chunks) == 1


async def test_a_long_replay__asks_for_access_again(settings, monkeypatch):
    settings.PROGRESS_ACCESS_SECONDS = 0.02
    job = await a_job()
    await add_events(EVENTS, "m" * 1_000)
    async with slow_watcher() as watcher:
        replay = asyncio.ensure_future(watch(watcher, Position(job.job.epoch, 1)))
        await eventually(lambda: watcher.chunks)
        monkeypatch.setattr(AccessPolicy, "may_view", lambda *_: False)
        await asyncio.sleep(0.03)
        while not replay.done():
            watcher.empty(room=1)
            await asyncio.sleep(0.001)
        with pytest.raises(Refused, match="Job not found"):
            await replay
        assert watcher.count('"type":"progress"') < EVENTS


async def test_a_database_that_is_slower_than_access_lasts__brings_the_replay_to_its_end(settings, monkeypatch):
    """Or access would be asked for again and again, and nothing ever be sent."""
    settings.PROGRESS_ACCESS_SECONDS = 0.01
    monkeypatch.setattr(pages, "KEPT_BYTES", 1)
    job = await a_job()
    await add_events(EVENTS)
    in_thread = reads.in_thread

    async def slow(function: Any, *args: Any) -> Any:
        answer = await in_thread(function, *args)
        if function is log_reader._publications:
            await asyncio.sleep(0.02)
        return answer

    monkeypatch.setattr(reads, "in_thread", slow)
    async with watchers() as [watcher]:
        async with asyncio.timeout(5):
            await watch(watcher, Position(job.job.epoch, 1))
    assert seqs(watcher) == [*range(2, EVENTS + 2), EVENTS + 1]


async def test_events_that_come_during_a_replay(monkeypatch):
    job = await a_job()
    await job.amark_started()
    await add_events(EVENTS)
    job = ProcessingJobLifecycle(JOB)
    in_thread = reads.in_thread
    steps = itertools.count()

    async def overtaken(function: Any, *args: Any) -> Any:
        answer = await in_thread(function, *args)
        if function is log_reader._publications:
            for _ in range(3):
                await job.amark_progress(1.0, stage=f"stage {next(steps)}")
        return answer

    async with watchers(2) as [present, comes]:
        await watch(present)
        monkeypatch.setattr(reads, "in_thread", overtaken)
        await watch(comes, Position(hubs.current().jobs[JOB].position.epoch, 1))
        last = hubs.current().jobs[JOB].position.seq
        await job.amark_progress(50.0, stage="the last")
        await comes.until_seq(last + 1)
    got = [frame["seq"] for frame in comes.frames if frame["type"] == "progress"]
    assert got == list(range(2, last + 2))
    assert [frame["type"] for frame in comes.frames].count("snapshot") == 1


async def test_a_hole_behind_what_was_sent__is_a_resync():
    job = await a_job()
    await add_events(EVENTS)
    await run(JobEvent.objects.filter(job_id=JOB, seq=2 * pages.PAGE_EVENTS).delete)()
    async with watchers() as [watcher]:
        with pytest.raises(Refused) as refused:
            await watch(watcher, Position(job.job.epoch, 1))
        assert refused.value.close is CloseCode.RESYNC
        assert seqs(watcher) == list(range(2, pages.PAGE_EVENTS + 1))


async def test_a_hole_at_once__is_a_snapshot():
    job = await a_job()
    await add_events(EVENTS)
    await run(JobEvent.objects.filter(job_id=JOB, seq=3).delete)()
    async with watchers() as [watcher]:
        await watch(watcher, Position(job.job.epoch, 1))
    (snapshot,) = watcher.frames
    assert (snapshot["type"], snapshot["recovered"]) == ("snapshot", False)


async def test_floor__within_a_page_that_a_client_above_it_needs():
    job = await a_job()
    await add_events(EVENTS)
    floor = pages.PAGE_EVENTS + 7
    await run(ProcessingJob.objects.update)(floor=floor)
    async with watchers(2) as [above, below]:
        await watch(above, Position(job.job.epoch, floor))
        await watch(below, Position(job.job.epoch, floor - 1))
    assert seqs(above) == [*range(floor + 1, EVENTS + 2), EVENTS + 1]
    assert above.frames[-1]["recovered"] is True
    (snapshot,) = below.frames  # though the rows are still there
    assert (snapshot["type"], snapshot["recovered"]) == ("snapshot", False)


@pytest.mark.parametrize("logs", [False, True])
async def test_log_lines__only_where_asked_for(logs):
    job = await a_job()
    await add_events(EVENTS, kind="log")
    await add_events(1)
    async with watchers() as [watcher]:
        await hubs.current().subscribe(watcher.connection, JOB, Position(job.job.epoch, 1), logs=logs)
    kinds = [frame["type"] for frame in watcher.frames]
    assert kinds == [*(["log"] * EVENTS if logs else []), "progress", "snapshot"]


async def test_pages__as_many_bytes_are_kept_as_may_be_and_those_that_were_read_last(monkeypatch):
    monkeypatch.setattr(pages, "PAGE_EVENTS", 2)
    frames = [event_frame(JOB, seq, "tick", "{}") for seq in range(1, 9)]
    read: list[tuple[int, int]] = []

    async def read_span(after: int, upto: int) -> list[Frame]:
        read.append((after, upto))
        return frames[after:upto]

    monkeypatch.setattr(pages, "KEPT_BYTES", 4 * len(frames[0].payload))
    log = pages.Pages(read_span)
    for after, known in (0, 1), (2, 4), (0, 8), (2, 8), (4, 8), (0, 8):
        await log.after(after, known, known)
    # The first page was read again as it had grown, so it outlives the second.
    assert read == [(0, 1), (2, 4), (0, 2), (4, 6)]


async def test_a_window_is_filled_once_for_all_who_come_later(spans, settings):
    settings.PROGRESS_RING_EVENTS = 5
    job = await a_job(ticks=10)
    async with watchers(3) as [first, second, third]:
        await watch(first, Position(job.job.epoch, 7))
        await watch(second, Position(job.job.epoch, 9))
        await watch(third, Position(job.job.epoch, 7))
    assert seqs(first) == seqs(third) == [*range(8, 13), 12]
    assert spans == [(7, 12)]

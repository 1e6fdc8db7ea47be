"""What the hub does about what the channel layer loses, repeats or disorders: it reads the log."""

import asyncio
import contextlib
import threading
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, transaction

from jobs import selectors
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from progress.broker.messages import Publication
from progress.delivery import hub, hubs, log_reader, reads
from progress.delivery.sqlite_changes import DataVersion
from progress.protocol.exceptions import Refused
from progress.protocol.position import Position
from tests.progress.hubs import JOB, a_job, offer, seqs, swept, watch
from tests.progress.watching import eventually, run, watchers

pytestmark = pytest.mark.django_db(transaction=True)


async def test_offer__a_gap_is_read_from_the_log_at_once(unheard, no_sweep):
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await swept()
        await job.amark_queued()
        await job.amark_started()
        await job.amark_progress(50)
        offer(unheard[-1])
        await watcher.until_seq(4)
    assert seqs(watcher) == [1, 2, 3, 4]


async def test_offer__duplicates_and_disorder(unheard, no_sweep):
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await swept()
        await job.amark_started()
        await job.amark_progress(1)
        await job.amark_progress(2)
        _, second, third, fourth = unheard
        for event in (second, second, fourth, third, fourth, second):
            offer(event)
        await watcher.until_seq(4)
        await swept()
    assert seqs(watcher) == [1, 2, 3, 4]


async def test_offer__of_another_stream_is_looked_into(unheard, no_sweep):
    await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await swept()
        hubs.current().dispatch([Publication(JOB, "another", 2, "tick", "{}")])
        assert JOB in hubs.current().reader._next.marked
        await swept()
    assert seqs(watcher) == [1]


async def test_sweep__repairs_a_lost_last_event(unheard, settings, monkeypatch):
    settings.PROGRESS_SWEEP_SECONDS = 0.01
    settings.PROGRESS_SYNC_SECONDS = 1000
    monkeypatch.setattr(DataVersion, "of_database", lambda: None)
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await watcher.until_seq(2)


async def test_data_version__tells_of_a_write_of_others(unheard, settings):
    settings.PROGRESS_SYNC_SECONDS = 1000
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await swept()
        await job.amark_started()
        await watcher.until_seq(2)


async def test_run__gives_the_counter_back(monkeypatch):
    closed, close = [], DataVersion.close

    def noted(self: DataVersion) -> None:
        closed.append(self)
        close(self)

    monkeypatch.setattr(DataVersion, "close", noted)
    async with watchers():
        await swept()
        assert closed == []
    await eventually(lambda: len(closed) == 1)


async def test_start__a_counter_that_can_not_be_read_keeps_nobody_waiting(unheard, monkeypatch):
    job, open_counter, is_back = await a_job(), DataVersion.of_database, threading.Event()

    def late() -> Any:
        if not is_back.is_set():
            raise OperationalError("not now")
        return open_counter()

    monkeypatch.setattr(DataVersion, "of_database", late)
    monkeypatch.setattr(hub, "RESTART_SECONDS", 0.01)
    async with watchers() as [watcher]:
        with pytest.raises(Refused) as refused:
            await watch(watcher)
        assert refused.value.temporary
        is_back.set()
        await job.amark_started()
        await watch(watcher)
    assert seqs(watcher) == [2]


@pytest.mark.parametrize(
    "error", [OperationalError("away"), InterfaceError("closed"), ZeroDivisionError("a bug")], ids=repr
)
async def test_run__goes_on_after_an_error(unheard, monkeypatch, logged, error):
    monkeypatch.setattr(hub, "RESTART_SECONDS", 0.01)
    job, heads, failed = await a_job(), selectors.heads, threading.Event()

    def fails_once(job_ids: Any) -> Any:
        if failed.is_set():
            return heads(job_ids)
        failed.set()
        raise error

    async with watchers() as [watcher]:
        await watch(watcher)
        await swept()
        monkeypatch.setattr(selectors, "heads", fails_once)
        await job.amark_started()
        await watcher.until_seq(2)
    assert len(logged.of("progress.delivery.hub", 30)) == 1


async def test_round__many_jobs_many_pages(unheard, no_sweep, monkeypatch):
    monkeypatch.setattr(log_reader, "ROUND_EVENTS", 3)
    monkeypatch.setattr(selectors, "MAX_SPANS", 2)
    monkeypatch.setattr(selectors, "MAX_IDS", 2)
    jobs = [await ProcessingJobLifecycle.acreate(f"job-{number}", public=True) for number in range(5)]
    async with watchers(5) as all_watchers:
        for number, watcher in enumerate(all_watchers):
            await watch(watcher, job_id=f"job-{number}")
        for job in jobs:
            await job.amark_started()
            for step in range(3):
                await job.amark_progress(step)
        await swept()
        assert [seqs(watcher) for watcher in all_watchers] == [[1, 2, 3, 4, 5]] * 5


async def test_round__pruned_in_between_is_a_snapshot(unheard, no_sweep):
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await job.amark_progress(5)
        await run(JobEvent.objects.filter(seq=2).delete)()
        await swept()
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == [("snapshot", 1), ("snapshot", 3)]
    assert watcher.frames[1]["recovered"] is False


async def test_round__kept_events_come_as_themselves(unheard, no_sweep, monkeypatch):
    """However many pages it takes: no snapshot in their place, which would leave log lines out."""
    monkeypatch.setattr(log_reader, "ROUND_EVENTS", 2)
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher, logs=True)
        await job.amark_started()
        for step in range(3):
            await job.amark_progress(step)
            await job.alog("a line")
        await swept()
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == [
        ("snapshot", 1),
        ("progress", 2),
        *[(kind, seq) for seq in (3, 5, 7) for kind, seq in (("progress", seq), ("log", seq + 1))],
    ]


async def test_round__too_far_behind_is_a_snapshot(unheard, no_sweep, settings, monkeypatch):
    """Nobody could replay it either; and it would take many rounds."""
    settings.PROGRESS_REPLAY_EVENTS = 3
    job = await a_job()
    read: list[Any] = []
    events_between = selectors.events_between
    monkeypatch.setattr(selectors, "events_between", lambda spans: read.append(spans) or events_between(spans))
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        for step in range(3):
            await job.amark_progress(step)
        await swept()
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == [("snapshot", 1), ("snapshot", 5)]
    assert read == []


@pytest.mark.parametrize("has_more", [False, True])
async def test_round__never_goes_back(unheard, no_sweep, monkeypatch, has_more):
    """What was pruned, and perhaps more, arrives through the channel layer while the row is read."""
    job, read = await a_job(), reads.in_thread

    async def overtaken(function: Any, *args: Any) -> Any:
        result = await read(function, *args)
        if function is log_reader._rows_and_heads and args[0]:
            if has_more:
                await job.amark_progress(6)
            for event in unheard:
                offer(event)
        return result

    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await job.amark_progress(5)
        await run(JobEvent.objects.filter(seq=2).delete)()
        monkeypatch.setattr(reads, "in_thread", overtaken)
        await swept()
    assert seqs(watcher) == [1, 2, 3, 4][: 4 if has_more else 3]


async def test_round__a_job_made_anew_while_it_reads(unheard, no_sweep, monkeypatch):
    """It must end, though the new stream is behind where the old one stood."""
    job, read = await a_job(), selectors.events_between
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()

        def anew_first(*args: Any) -> Any:
            with transaction.atomic():
                ProcessingJob.objects.all().delete()
                ProcessingJobLifecycle.create(JOB, public=True)
            monkeypatch.setattr(selectors, "events_between", read)
            return read(*args)

        monkeypatch.setattr(selectors, "events_between", anew_first)
        async with asyncio.timeout(5):
            await swept()
        await watcher.until(lambda frames: len(frames) == 2)
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == [("snapshot", 1)] * 2
    assert watcher.frames[0]["epoch"] != watcher.frames[1]["epoch"]


@pytest.mark.parametrize("change", ["write", "delete"])
async def test_subscribe__what_is_committed_while_the_job_is_loaded(unheard, settings, monkeypatch, change):
    """The one sign of it is the database's counter, and nothing else is written that would wake the hub again."""
    settings.PROGRESS_SYNC_SECONDS = 1000
    job, read = await a_job(), reads.in_thread
    is_first = True

    async def overtaken(function: Any, *args: Any) -> Any:
        nonlocal is_first
        result = await read(function, *args)
        if function is log_reader._rows_and_heads and args[0] and is_first:
            is_first = False
            await (job.amark_started() if change == "write" else run(job.job.delete)())
        return result

    async with watchers() as [watcher]:
        await swept()
        monkeypatch.setattr(reads, "in_thread", overtaken)
        if change == "write":
            await watch(watcher)
            await watcher.until_seq(2)
        else:
            with contextlib.suppress(Refused):  # told at once, or soon after the job was shown
                await watch(watcher)
                await watcher.until(lambda frames: frames[-1].get("code") == "job_not_found")
            assert len(hubs.current().jobs) == 0


async def test_offer__while_the_job_is_loaded_is_looked_into(no_sweep, monkeypatch):
    """What the row does not show yet, and where nothing else would bring it."""
    job, get_jobs = await a_job(), selectors.get_jobs

    def reads_early(job_ids: Any) -> Any:
        found = get_jobs(job_ids)
        if job.job.seq == 1:
            job.mark_started()
        return found

    monkeypatch.setattr(selectors, "get_jobs", reads_early)
    async with watchers() as [watcher]:
        await watch(watcher)
        await watcher.until_seq(2)
    assert seqs(watcher) == [1, 2]


@pytest.mark.parametrize(("room", "rounds"), [(1, [["near"], [JOB], [JOB], [JOB]]), (4, [["near", JOB]])])
async def test_round__begins_with_those_who_miss_the_fewest(unheard, no_sweep, monkeypatch, room, rounds):
    """Whoever is far behind holds nobody up."""
    far, near = await a_job(), await ProcessingJobLifecycle.acreate("near", public=True)
    for _ in range(9):
        await near.alog("a line")
    async with watchers(2) as [one, other]:
        await watch(one)
        await watch(other, job_id="near")
        for _ in range(3):
            await far.alog("a line")
        await near.alog("a line")
        read, in_thread = [], reads.in_thread

        async def noted(function: Any, *args: Any) -> Any:
            if function is log_reader._publications:
                read.append(list(args[0]))
            return await in_thread(function, *args)

        monkeypatch.setattr(log_reader, "ROUND_EVENTS", room)
        monkeypatch.setattr(reads, "in_thread", noted)
        await swept()
    assert read == rounds


async def test_round__watched_anew_while_it_reads(unheard, no_sweep, monkeypatch):
    """The job that was behind is dropped, and another of the same id has not been read yet."""
    job, read = await a_job(), reads.in_thread
    async with watchers(2) as [watcher, _]:
        await watch(watcher)
        await job.amark_started()
        reading, passing = asyncio.Event(), asyncio.Event()

        async def slow(function: Any, *args: Any) -> Any:
            result = await read(function, *args)
            if function is log_reader._publications:
                reading.set()
                await passing.wait()
            return result

        monkeypatch.setattr(reads, "in_thread", slow)
        sweeping = asyncio.ensure_future(swept())
        await reading.wait()
        hubs.current().unsubscribe(watcher.connection, JOB)
        watching = asyncio.ensure_future(watch(watcher))
        await asyncio.sleep(0)
        passing.set()
        await asyncio.gather(sweeping, watching)
        assert seqs(watcher) == [1, 2]


async def test_round__a_log_that_was_set_back_is_another_stream(unheard, no_sweep):
    """From a backup: the row and the end of the log are of an earlier time, and the worker goes on from there."""
    job = await a_job(ticks=3)
    async with watchers(3) as [live, new, back]:
        await watch(live)
        old = Position(live.frames[0]["epoch"], live.frames[0]["seq"])
        await run(JobEvent.objects.filter(seq__gt=3).delete)()
        await run(ProcessingJob.objects.filter(pk=JOB).update)(seq=3, progress=18.0, message="from the backup")
        await swept()
        await live.until(lambda frames: len(frames) == 2)
        await job.amark_progress(19.0)
        for event in unheard[-1:]:
            offer(event)
        await live.until(lambda frames: len(frames) == 3)
        await watch(new)
        await watch(back, old)
    assert [(frame["type"], frame["seq"], frame["progress"]) for frame in live.frames[1:]] == [
        ("snapshot", 3, 18.0),
        ("progress", 4, 19.0),
    ]
    for each in (new, back):
        (snapshot,) = each.frames
        assert (snapshot["seq"], snapshot["progress"], snapshot["recovered"]) == (4, 19.0, False)
        assert snapshot["epoch"] == live.frames[1]["epoch"] != old.epoch


async def test_subscribe__finds_that_the_log_was_set_back(unheard, no_sweep):
    await a_job(ticks=3)
    async with watchers(2) as [live, new]:
        await watch(live)
        await run(ProcessingJob.objects.filter(pk=JOB).update)(seq=3, message="from the backup")
        await watch(new)
        await live.until(lambda frames: len(frames) == 2)
    assert [(each.frames[-1]["seq"], each.frames[-1]["message"]) for each in (live, new)] == [
        (3, "from the backup")
    ] * 2


async def test_run__what_one_row_does_harms_its_own_job_only(unheard, no_sweep, logged):
    job = await a_job()
    bad = await ProcessingJobLifecycle.acreate("bad", public=True)
    async with watchers(2) as [watcher, of_bad]:
        await watch(watcher)
        await watch(of_bad, job_id="bad")
        await bad.amark_started()
        await job.amark_started()
        await run(ProcessingJob.objects.filter(pk="bad").update)(progress=float("inf"))
        await run(JobEvent.objects.filter(job_id="bad", seq=2).update)(progress=float("inf"))
        await swept()
        await watcher.until_seq(2)
        await of_bad.until(lambda frames: frames[-1].get("code") == "unavailable")
        await swept()
        assert len(of_bad.frames) == 2, "said once"
        with pytest.raises(Refused) as refused:
            await watch(of_bad, job_id="bad")
        assert refused.value.temporary
        await run(ProcessingJob.objects.filter(pk="bad").update)(progress=5.0)
        await watch(of_bad, job_id="bad")
    assert (of_bad.frames[-1]["type"], of_bad.frames[-1]["progress"]) == ("snapshot", 5.0)


async def test_subscribe__a_position_ahead_reads_its_own_job_once_for_all(unheard, no_sweep, monkeypatch):
    asked: list[int] = []
    read = reads.in_thread

    async def counting(function: Any, *args: Any) -> Any:
        if function is log_reader._rows_and_heads:
            asked.append(sum(map(len, args)))
        return await read(function, *args)

    jobs = [await ProcessingJobLifecycle.acreate(f"job-{number}", public=True) for number in range(5)]
    async with watchers(101) as [host, *hostile]:
        for number in range(5):
            await watch(host, job_id=f"job-{number}")
        await swept()
        monkeypatch.setattr(reads, "in_thread", counting)
        far = Position(jobs[0].job.epoch, 2**62)
        await asyncio.gather(*(watch(each, far, job_id="job-0") for each in hostile))
        assert all(each.frames[0]["recovered"] is False for each in hostile)
    assert asked == [1]


async def test_take__a_row_that_can_not_be_shown_changes_nothing(unheard, no_sweep, settings):
    """So that the job goes on from where it was once the row is mended, though nobody has let go of it meanwhile."""
    settings.PROGRESS_REPLAY_EVENTS = 1
    job = await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
        with hubs.current().jobs[JOB].in_demand():
            await job.amark_started()
            await job.amark_progress(5)
            await run(ProcessingJob.objects.update)(progress=float("inf"))
            await swept()
            assert watcher.frames[-1]["code"] == "unavailable"
            assert hubs.current().jobs[JOB].position.seq == 1
            await run(ProcessingJob.objects.update)(progress=5.0)
            await watch(watcher)
    assert (watcher.frames[-1]["type"], watcher.frames[-1]["seq"]) == ("snapshot", 3)

"""The consumer, through the site's ASGI application: recovery, and jobs that go."""

from typing import Any

import pytest
from django.db import transaction

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from progress.delivery import hubs
from progress.protocol.codes import CloseCode
from tests.progress.sockets import a_job, a_running_job, a_token, a_user, seqs
from tests.progress.watching import Socket, bearer, run, watching

pytestmark = pytest.mark.django_db(transaction=True)


# Recovery


async def test_recovery__events_then_the_snapshot():
    job = await a_running_job()
    async with watching(f"/progress/ws/job-1?epoch={job.job.epoch}&seq=2") as socket:
        frames = [await socket.next() for _ in range(4)]
    assert [frame["type"] for frame in frames] == ["progress"] * 3 + ["snapshot"]
    assert seqs(frames) == [3, 4, 5, 5]
    assert frames[3]["recovered"] is True


async def test_recovery__nothing_was_missed():
    job = await a_running_job()
    async with watching() as socket:
        since = {"epoch": job.job.epoch, "seq": 5}
        frame = await socket.ask(type="subscribe", job_id="job-1", since=since)
        assert (frame["type"], frame["recovered"], frame["seq"]) == ("snapshot", True, 5)
        assert await socket.so_far() == []


@pytest.mark.parametrize("logs", [False, True])
async def test_recovery__log_lines_only_where_asked_for(logs):
    job = await a_running_job()
    await job.alog("a line")
    async with watching() as socket:
        since = {"epoch": job.job.epoch, "seq": 4}
        await socket.send_json_to({"type": "subscribe", "job_id": "job-1", "since": since, "logs": logs})
        kinds = [frame["type"] for frame in await socket.so_far()]
    assert kinds == ["progress", *(["log"] if logs else []), "snapshot"]


async def one_snapshot(socket: Socket, **since: Any) -> Any:
    await socket.send_json_to({"type": "subscribe", "job_id": "job-1", "since": since})
    (frame,) = await socket.so_far()
    assert (frame["type"], frame["recovered"]) == ("snapshot", False)
    return frame


async def test_recovery__pruned_position():
    job = await a_running_job()
    await run(JobEvent.objects.filter(seq__lte=3).delete)()
    async with watching() as socket:
        assert (await one_snapshot(socket, epoch=job.job.epoch, seq=2))["seq"] == 5


async def test_recovery__pruned_in_the_middle():
    job = await a_running_job()
    await run(JobEvent.objects.filter(seq=4).delete)()
    async with watching() as socket:
        await one_snapshot(socket, epoch=job.job.epoch, seq=2)


async def test_recovery__another_epoch():
    job = await a_running_job()
    async with watching() as socket:
        assert (await one_snapshot(socket, epoch="another", seq=2))["epoch"] == job.job.epoch


async def test_recovery__ahead_of_the_server():
    job = await a_running_job()
    async with watching() as socket:
        assert (await one_snapshot(socket, epoch=job.job.epoch, seq=6))["seq"] == 5
        assert (await one_snapshot(socket, epoch=job.job.epoch, seq=2**63 - 1))["seq"] == 5


async def test_recovery__further_behind_than_is_replayed(settings):
    settings.PROGRESS_REPLAY_EVENTS = 2
    job = await a_running_job()
    async with watching() as socket:
        await one_snapshot(socket, epoch=job.job.epoch, seq=2)


@pytest.mark.parametrize("query", ["epoch=e&seq=x", "epoch=e&seq=-1", "epoch=e&seq=1.5", "epoch=e&seq=" + "9" * 5000])
async def test_recovery__malformed_position_in_the_url(query):
    await a_job()
    async with watching(f"/progress/ws/job-1?{query}") as socket:
        assert (await socket.next())["code"] == "invalid_message"
        assert await socket.close_code() == CloseCode.INVALID_REQUEST


async def test_recovery__the_highest_position_in_the_url():
    job = await a_job()
    async with watching(f"/progress/ws/job-1?epoch={job.job.epoch}&seq={2**63 - 1}") as socket:
        assert (await socket.next())["recovered"] is False


@pytest.mark.parametrize("query", ["", "epoch=e", "seq=1", "epoch=&seq=", "x=1&x=2"])
async def test_recovery__half_a_position_in_the_url_is_none(query):
    await a_job()
    async with watching(f"/progress/ws/job-1?{query}") as socket:
        assert (await socket.next())["recovered"] is False


# Deleted, and made anew


async def test_deleted__the_watcher_gets_an_error():
    job = await a_running_job()
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        await run(job.job.delete)()
        assert (await socket.next())["code"] == "job_not_found"
        assert await socket.so_far() == []
        assert hubs.current().jobs == {}


def replace(**fields: Any) -> ProcessingJobLifecycle:
    """Delete the job and make another with its id, at once for all who look."""
    with transaction.atomic():
        ProcessingJob.objects.filter(pk="job-1").delete()
        return ProcessingJobLifecycle.create("job-1", **fields)


async def test_made_anew__a_snapshot_unasked():
    before = await a_running_job()
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        after = await run(replace)(public=True)
        frame = await socket.next()
        assert (frame["type"], frame["recovered"], frame["seq"]) == ("snapshot", False, 1)
        assert frame["epoch"] == after.job.epoch != before.job.epoch
        await after.amark_started()
        frame = await socket.next()
        assert (frame["type"], frame["seq"]) == ("progress", 2)


async def test_made_anew__for_others_only():
    """The new job is another one: who may see it is asked anew."""
    await a_running_job()
    ann = await a_user()
    token = await a_token(ann)
    async with watching("/progress/ws/job-1") as stranger, watching("/progress/ws/job-1", bearer(token)) as own:
        await stranger.next()
        await own.next()
        after = await run(replace)(owner=ann, public=False)
        assert (await own.next())["epoch"] == after.job.epoch
        assert (await stranger.next())["code"] == "job_not_found"
        await after.amark_started()
        assert (await own.next())["seq"] == 2
        assert await stranger.so_far() == []

"""Streams of server-sent events, through the site's ASGI application: what a socket is sent, over a GET."""

import asyncio
from random import Random
from typing import Any

import pytest

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from progress.delivery import hubs
from progress.protocol.codes import CloseCode
from progress.transports.sse import application
from tests.progress.sockets import a_job, a_running_job, is_without_trace, seqs
from tests.progress.transports.sse.stream import Stream, ended, refused, streaming
from tests.progress.watching import eventually, run, watching

pytestmark = pytest.mark.django_db(transaction=True)

ONE = "/progress/events/job-1"
SEVERAL = "/progress/events?job=job-1&job=job-2"


async def epoch_of(job_id: str = "job-1") -> str:
    job = await ProcessingJob.objects.aget(pk=job_id)
    return str(job.epoch)


# One job


async def test_stream__the_frames_of_a_socket_byte_for_byte():
    job = await a_job(name="Import of März", metadata={"k": [1, None]})
    async with streaming(ONE) as stream, watching("/progress/ws/job-1") as socket:
        texts = [(await stream.next()).data]
        theirs = [await socket.receive_from(10)]
        await job.amark_started()
        await job.amark_progress(50, message="half — \n done")
        for _ in range(2):
            texts.append((await stream.next()).data)
            theirs.append(await socket.receive_from(10))
    assert texts == theirs
    await is_without_trace()


async def test_stream__its_headers():
    await a_job()
    async with streaming(f"{ONE}/") as stream:
        assert stream.status == 200
        assert stream.headers == {
            b"content-type": b"text/event-stream",
            b"cache-control": b"no-store, no-transform",
            b"x-content-type-options": b"nosniff",
            b"x-accel-buffering": b"no",
            b"connection": b"close",
        }
        await stream.next()
        assert 500 <= (stream.parser.retry or 0) <= 1_500


async def test_stream__each_event_has_its_position():
    job = await a_running_job()
    epoch = await epoch_of()
    async with streaming(ONE) as stream:
        assert (await stream.next()).last_id == f"{epoch}:5"
        await job.amark_progress(7)
        assert (await stream.next()).last_id == f"{epoch}:6"


@pytest.mark.parametrize("way", ["header", "query", "both"])
async def test_stream__resumes_from_a_position(way):
    await a_running_job()
    epoch = await epoch_of()
    path = {"header": ONE, "query": f"{ONE}?since={epoch}:3", "both": f"{ONE}?since=0:0"}[way]
    headers = [(b"last-event-id", f"{epoch}:3".encode())] if way != "query" else []
    async with streaming(path, *headers) as stream:
        frames = [await stream.frame() for _ in range(3)]
    assert seqs(frames) == [4, 5, 5]
    assert frames[-1]["recovered"] is True


@pytest.mark.parametrize("position", ["{}:99", "0000000000000000:3", "e:0"])
async def test_stream__a_position_that_is_none_gets_a_snapshot(position):
    await a_running_job()
    async with streaming(ONE, (b"last-event-id", position.format(await epoch_of()).encode())) as stream:
        frame = await stream.frame()
    assert (frame["type"], frame["recovered"], frame["seq"]) == ("snapshot", False, 5)


async def test_stream__log_lines_and_output_if_they_are_asked_for():
    job = await a_job()
    await job.amark_started()
    await run(job.log)("one")
    await run(job.output)("two")
    async with streaming(f"{ONE}?logs=true&output=true") as stream:
        events = [await stream.next() for _ in range(4)]
        assert [event.frame["type"] for event in events] == ["backscroll", "log", "output", "snapshot"]
        epoch = await epoch_of()
        assert [event.last_id for event in events] == ["", f"{epoch}:3", f"{epoch}:4", f"{epoch}:4"]
    async with streaming(ONE) as stream:
        assert (await stream.frame())["type"] == "snapshot"


# Several jobs


async def test_several__each_event_has_the_positions_of_all_and_resumes_all():
    jobs = [await a_job("job-1"), await a_job("job-2")]
    for job in jobs:
        await job.amark_started()
    epochs = [await epoch_of("job-1"), await epoch_of("job-2")]
    async with streaming(SEVERAL) as stream:
        assert {(await stream.frame())["job_id"] for _ in jobs} == {"job-1", "job-2"}
        await jobs[1].amark_progress(10)
        assert (await stream.next()).last_id == f"{epochs[0]}:2,{epochs[1]}:3"
        await jobs[0].amark_progress(20)
        last_id = (await stream.next()).last_id
        assert last_id == f"{epochs[0]}:3,{epochs[1]}:3"
    await jobs[0].amark_progress(30)
    await jobs[1].amark_progress(40)
    async with streaming(SEVERAL, (b"last-event-id", last_id.encode())) as stream:
        frames = [await stream.frame() for _ in range(4)]
    for job_id in ("job-1", "job-2"):
        own = [frame for frame in frames if frame["job_id"] == job_id]
        assert [(frame["type"], frame["seq"]) for frame in own] == [("progress", 4), ("snapshot", 4)]
    await is_without_trace()


async def test_several__a_job_that_is_not_found_is_told_among_the_others():
    await a_job()
    async with streaming("/progress/events?job=nope&job=job-1") as stream:
        assert stream.status == 200
        frames = [await stream.frame() for _ in range(2)]
    assert sorted(frame["type"] for frame in frames) == ["error", "snapshot"]
    assert next(frame for frame in frames if frame["type"] == "error")["subject"] == "nope"


async def test_several__the_end_of_one_is_not_that_of_the_others():
    jobs = [await a_job("job-1"), await a_job("job-2")]
    async with streaming(SEVERAL) as stream:
        for _ in jobs:
            await stream.next()
        await run(ProcessingJob.objects.filter(pk="job-1").delete)()
        assert (await stream.until("error")).frame["subject"] == "job-1"
        await jobs[1].amark_started()
        assert (await stream.frame())["job_id"] == "job-2"
        await run(ProcessingJob.objects.filter(pk="job-2").delete)()
        assert (await stream.until("error")).frame["subject"] == "job-2"
        assert await ended(stream) == []
    await is_without_trace()


# Its end


async def test_end__a_job_that_is_no_longer_to_be_seen():
    await a_job()
    async with streaming(ONE) as stream:
        await stream.next()
        await run(ProcessingJobLifecycle("job-1").edit)(public=False)
        frames = await ended(stream)
    assert [frame.get("code") for frame in frames] == ["job_not_found"]
    assert (await refused(ONE))[0] == 404
    await is_without_trace()


async def test_end__the_server_closes_the_connection():
    await a_job()
    async with streaming(ONE) as stream:
        await stream.next()
        (connection,) = hubs.current().connections
        connection.close(CloseCode.RESYNC)
        assert await ended(stream) == []
    await is_without_trace()


async def test_end__a_server_that_shuts_down_completes_the_answer():
    await a_job()
    stream = await Stream(ONE).open()
    await stream.next()
    stream.future.cancel()
    assert await ended(stream) == []
    with pytest.raises(asyncio.CancelledError):
        await stream.future
    await is_without_trace()


async def test_end__a_client_that_goes_while_it_is_answered():
    await a_job()
    stream = Stream(ONE)
    await stream.send_input({"type": "http.disconnect"})
    await stream.wait(10)
    await is_without_trace()


# What keeps it


async def test_comments__come_while_nothing_else_does(monkeypatch):
    monkeypatch.setattr(application, "COMMENT_SECONDS", 0.01)
    await a_job()
    async with streaming(ONE) as stream:
        await stream.next()
        while stream.parser.comments < 3:
            assert stream.parser.feed(await stream._part()) == []


async def test_heartbeats__come_as_on_a_socket(settings):
    settings.PROGRESS_HEARTBEAT_SECONDS = 0.05
    await a_job()
    async with streaming(ONE) as stream:
        await stream.next()
        event = await stream.until("heartbeat")
    assert event.last_id == f"{await epoch_of()}:1"


async def test_slow__ticks_are_superseded_and_the_rest_waits():
    """A server whose ``send`` waits, as uvicorn's does for a client that does not read."""
    from progress.transports.sse.asgi import AsgiBody

    job = await a_running_job()
    async with streaming(ONE) as stream:
        await stream.next()
        (connection,) = hubs.current().connections
        body = connection._sender._body
        assert isinstance(body, AsgiBody)
        stuck, send = asyncio.Event(), body._send

        async def slow(message: Any) -> None:
            await stuck.wait()
            await send(message)

        body._send = slow
        for percent in range(10, 60):
            await job.amark_progress(percent)
        await job.amark_completed()
        await eventually(lambda: hubs.current().jobs["job-1"].position.seq == 56)
        stuck.set()
        frames = []
        while not frames or frames[-1]["status"] != "completed":
            frames.append(await stream.frame())
    assert frames[0]["seq"] == 6
    assert len(frames) < 10
    assert frames[-1]["seq"] == 56


@pytest.mark.parametrize("seed", range(4))
async def test_cuts__at_any_event_lose_nothing_and_show_nothing_twice(seed):
    """A client that reads a few events, is cut, and comes back with the last id, while three jobs go on."""
    chance = Random(seed)
    jobs = [await a_job(f"job-{number}") for number in range(3)]
    path = f"/progress/events?{'&'.join(f'job={job.job_id}' for job in jobs)}"

    async def work() -> None:
        for job in jobs:
            await job.amark_started()
        for step in range(90):
            await chance.choice(jobs).amark_progress(step)
        for job in jobs:
            await job.amark_completed()

    working = asyncio.ensure_future(work())
    seqs_of: dict[str, list[int]] = {job.job_id: [] for job in jobs}
    latest: dict[str, Any] = {}
    last_id = ""
    while [latest.get(job.job_id) for job in jobs] != ["completed"] * 3:
        async with streaming(path, *([(b"last-event-id", last_id.encode())] if last_id else [])) as stream:
            for _ in range(chance.randrange(1, 12)):
                if list(latest.values()) == ["completed"] * 3:
                    break
                event = await stream.next()
                last_id, frame = event.last_id or last_id, event.frame
                latest[frame["job_id"]] = frame["status"]
                if frame["type"] == "progress":
                    seqs_of[frame["job_id"]].append(frame["seq"])
                elif not frame["recovered"]:
                    assert not seqs_of[frame["job_id"]], "only the first snapshot stands for what was before"
                    seqs_of[frame["job_id"]] = list(range(2, frame["seq"] + 1))
    await working
    for job in jobs:
        row = await ProcessingJob.objects.aget(pk=job.job_id)
        assert seqs_of[job.job_id] == list(range(2, row.seq + 1))
    await is_without_trace()

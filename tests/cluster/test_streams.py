"""Streams of server-sent events from each server: all events, once, in order, also over a cut."""

import asyncio
import contextlib
import json
from signal import SIGTERM
from typing import Any

import pytest

from tests.cluster.follower import Worker
from tests.cluster.stream_follower import StreamFollower
from tests.installation import Kind, Served, Site
from tests.sampling import first_quick
from tests.streams import get

JOBS = """
from jobs.lifecycle import ProcessingJobLifecycle
ProcessingJobLifecycle.create("job-1", name="A job", public=True)
ProcessingJobLifecycle.create("job-2", public=True)
ProcessingJobLifecycle.create("private")
"""

RUN = """
from jobs.lifecycle import ProcessingJobLifecycle
jobs = [ProcessingJobLifecycle("job-1"), ProcessingJobLifecycle("job-2")]
for job in jobs:
    job.mark_started()
for part in range(4):
    print("part", flush=True); input()
    for step in range(25):
        for job in jobs:
            job.mark_progress(25 * part + step)
for job in jobs:
    job.mark_completed()
print("done", flush=True)
"""
ALL = list(range(2, 104))  # the events of each job, after its creation
BOTH = "/progress/events?job=job-1&job=job-2"


@pytest.mark.parametrize("kind", first_quick(["serve", "uvicorn", "daphne", "runserver", "hypercorn"], 3))
async def test_server__end_to_end(kind: Kind, sqlite_site: Site) -> None:
    sqlite_site.worker(JOBS)
    served = sqlite_site.serve(kind=kind)
    async with get(served.port, "/progress/events/private") as refused:
        assert refused.status == 404
        assert json.loads(await refused.body())["code"] == "job_not_found"
    async with get(served.port, "/progress/events/job-1", Origin="https://elsewhere.example") as refused:
        assert refused.status == 403
        assert json.loads(await refused.body())["code"] == "foreign_origin"
    async with (
        StreamFollower(served.port, "/progress/events/job-1") as one,
        StreamFollower(served.port, BOTH) as both,
    ):
        await run(sqlite_site)
        await one.until(lambda: one.is_finished("job-1"))
        await both.until(lambda: both.is_finished("job-1") and both.is_finished("job-2"))
        assert one.seqs("job-1") == both.seqs("job-1") == both.seqs("job-2") == ALL
        assert one.statuses == both.statuses == [200]
        positions = one.events[50].last_id
    async with get(served.port, "/progress/events/job-1", Last_Event_ID=positions) as response:
        assert response.status == 200
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-store, no-transform"
        assert response.headers["x-accel-buffering"] == "no"
        assert (await response.next()).frame["seq"] == int(positions.partition(":")[2]) + 1


async def run(site: Site, *between: Any) -> None:
    """Have the jobs done, and something else after each of the first parts."""
    worker = Worker(site.start_worker(RUN))
    for number in range(4):
        assert await worker.says() == "part"
        if number and number <= len(between):
            await asyncio.to_thread(between[number - 1])
        await worker.go()
    assert await worker.says() == "done"


@pytest.mark.parametrize("way", ["kill", "stop"])
@pytest.mark.slow
async def test_cut__every_event_comes_once(way: str, sqlite_site: Site) -> None:
    """Whether the server is killed or drains, a client that comes back with the last id has missed nothing."""
    sqlite_site.worker(JOBS)
    served = sqlite_site.serve()

    def cut() -> None:
        served.kill() if way == "kill" else served.stop()
        served.start()

    async with (
        StreamFollower(served.port, "/progress/events/job-1") as one,
        StreamFollower(served.port, BOTH) as both,
    ):
        await run(sqlite_site, cut, cut)
        await one.until(lambda: one.is_finished("job-1"))
        await both.until(lambda: both.is_finished("job-1") and both.is_finished("job-2"))
        assert one.seqs("job-1") == both.seqs("job-1") == both.seqs("job-2") == ALL
        assert len(one.statuses) > 1
    assert "Traceback" not in served.log_text()


@pytest.mark.slow
async def test_drain__completes_the_answers_over_its_time(sqlite_site: Site) -> None:
    sqlite_site.worker(JOBS)
    served = sqlite_site.serve(PROGRESS_DRAIN_SECONDS="1")
    streams = [get(served.port, "/progress/events/job-1") for _ in range(50)]
    responses = [await stream.__aenter__() for stream in streams]
    for response in responses:
        assert (await response.next()).frame["type"] == "snapshot"
    served.signal(SIGTERM)
    for response in responses:
        with pytest.raises(EOFError):  # and no `IncompleteReadError`: the last chunk is there
            await response.next()
        assert response.headers["connection"] == "close"
    for stream in streams:
        await stream.__aexit__(None, None, None)
    assert await asyncio.to_thread(served.wait) == 0
    assert "Traceback" not in served.log_text()


@pytest.mark.slow
async def test_http_1_0__is_sent_without_chunks(sqlite_site: Site) -> None:
    """As nginx asks, unless it is told otherwise."""
    sqlite_site.worker(JOBS)
    served = sqlite_site.serve()
    async with get(served.port, "/progress/events/job-1", version="1.0") as response:
        assert "transfer-encoding" not in response.headers
        assert (await response.next()).frame["type"] == "snapshot"
        await asyncio.to_thread(sqlite_site.worker, RUN.replace('print("part", flush=True); input()', "pass"))
        seqs = []
        while (frame := (await response.next()).frame)["status"] != "completed":
            seqs += [frame["seq"]] if frame["type"] == "progress" else []
        assert seqs == ALL[:-1]


@pytest.mark.slow
async def test_handshakes__of_one_address_are_limited(sqlite_site: Site) -> None:
    sqlite_site.worker(JOBS)
    served = sqlite_site.serve(PROGRESS_MAX_HANDSHAKES_BURST="3", PROGRESS_MAX_HANDSHAKES_PER_SECOND="0.1")
    for _ in range(3):
        async with get(served.port, "/progress/events/job-1") as response:
            assert response.status == 200
    async with get(served.port, "/progress/events/job-1") as response:
        assert response.status == 429
        assert json.loads(await response.body())["code"] == "too_many_connections"


TALK = """
import sys
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle("job-1")
job.mark_started()
for step in range(4_000):
    job.log("x" * 2_000)
print("done")
"""


@pytest.mark.slow
async def test_slow__a_reader_that_does_not_read_takes_bounded_memory_and_is_cut(sqlite_site: Site) -> None:
    """Its 8 MB of log lines are not kept for it; it comes back, and gets what it has missed."""
    sqlite_site.worker(JOBS)
    served = sqlite_site.serve(PROGRESS_SEND_SECONDS="1")
    async with get(served.port, "/progress/events/job-1?logs=true") as response:
        assert (await response.next()).frame["type"] == "backscroll"
        before = _memory(served)
        response._reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.to_thread(sqlite_site.worker, TALK)
        assert _memory(served) - before < 4_000_000
        response._reader._transport.resume_reading()  # type: ignore[attr-defined]
        with contextlib.suppress(EOFError, ConnectionError):
            while (last := await response.next()).frame.get("seq") != 4_002:
                last_id = last.last_id
    seqs: list[int] = []
    async with get(served.port, "/progress/events/job-1?logs=true", Last_Event_ID=last_id) as response:
        while not seqs or seqs[-1] != 4_002:
            frame = (await response.next()).frame
            seqs += [frame["seq"]] if frame["type"] == "log" else []
    first = int(last_id.partition(":")[2]) + 1
    assert seqs == list(range(first, 4_003))
    assert first < 2_000


def _memory(served: Served) -> int:
    """Return the resident bytes of a server."""
    with open(f"/proc/{served.pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4_096

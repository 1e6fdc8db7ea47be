"""Each server that people use serves the same: pages, sockets, recovery, and a goodbye."""

import asyncio
import http.client
import json
import time
import urllib.request
from signal import SIGTERM

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.cluster.follower import Follower
from tests.installation import Kind, Site
from tests.sampling import first_quick

JOB = """
from jobs.lifecycle import ProcessingJobLifecycle
ProcessingJobLifecycle.create("job-123", name="A job", public=True)
ProcessingJobLifecycle.create("private")
"""

RUN = """
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle("job-123")
job.mark_started()
for step in range(100):
    job.mark_progress(step)
job.mark_completed()
"""


@pytest.mark.parametrize("kind", first_quick(["serve", "daphne", "uvicorn", "runserver", "hypercorn"], 3))
async def test_server__end_to_end(kind: Kind, sqlite_site: Site) -> None:
    sqlite_site.worker(JOB)
    served = sqlite_site.serve(kind=kind)
    page = await asyncio.to_thread(lambda: urllib.request.urlopen(f"{served.url}/jobs/job-123/").read())
    assert b"A job" in page

    async with connect(f"{served.ws_url}/progress/ws/private") as socket:
        error = json.loads(await socket.recv())
        assert (error["type"], error["error"]) == ("error", "Job not found")
        await socket.wait_closed()
        assert socket.close_code == 4504

    with pytest.raises(InvalidStatus):
        await connect(f"{served.ws_url}/progress/ws/job-123", origin="https://elsewhere.example")  # type: ignore[arg-type]

    async with (
        Follower(served.ws_url, "job-123") as follower,
        connect(f"{served.ws_url}/progress/ws") as other,
    ):
        await other.send('{"type": "ping"}')
        assert json.loads(await other.recv())["type"] == "pong"
        await other.send("nonsense")
        assert json.loads(await other.recv())["code"] == "invalid_message"
        await asyncio.to_thread(sqlite_site.worker, RUN)
        await follower.until_finished()
        assert follower.seqs == list(range(2, 104))
        position = {"epoch": follower.frames[0]["epoch"], "seq": 100}
        await other.send(json.dumps({"type": "subscribe", "job_id": "job-123", "since": position}))
        missed = [json.loads(await other.recv()) for _ in range(4)]
        assert [frame["seq"] for frame in missed] == [101, 102, 103, 103]
        assert missed[-1]["recovered"] is True


async def test_server__says_goodbye_when_it_is_stopped(sqlite_site: Site) -> None:
    # Not asked of stock Daphne, whose own goodbye fails while any connection is younger than a second.
    sqlite_site.worker(JOB)
    served = sqlite_site.serve()
    async with connect(f"{served.ws_url}/progress/ws/job-123") as socket:
        assert json.loads(await socket.recv())["type"] == "snapshot"
        await asyncio.to_thread(served.stop)
        await socket.wait_closed()
        assert socket.close_code == 4001


async def test_drain__told_over_its_time_and_nothing_new_is_taken(sqlite_site: Site) -> None:
    sqlite_site.worker(JOB)
    served = sqlite_site.serve(PROGRESS_DRAIN_SECONDS="2")
    watchers = [await connect(f"{served.ws_url}/progress/ws/job-123") for _ in range(200)]
    for watcher in watchers:
        assert json.loads(await watcher.recv())["type"] == "snapshot"
    older = [_kept_alive(served.port) for _ in range(2)]

    served.signal(SIGTERM)
    await watchers[0].wait_closed()
    began = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        await connect(f"{served.ws_url}/progress/ws/job-123")
    for connection, path in zip(older, ["/jobs/", "/progress/ws/job-123"], strict=True):
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", **HANDSHAKE} if "/ws/" in path else {}
        connection.request("GET", path, headers=upgrade)
        assert connection.getresponse().status == 503
        connection.close()
    assert watchers[-1].close_code is None  # all that was during the drain

    await asyncio.gather(*(watcher.wait_closed() for watcher in watchers))
    assert time.monotonic() - began > 1.5
    assert {watcher.close_code for watcher in watchers} == {4001}
    assert await asyncio.to_thread(served.wait) == 0
    assert "Traceback" not in served.log_text()


HANDSHAKE = {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


def _kept_alive(port: int) -> http.client.HTTPConnection:
    """Return a connection that has had an answer and may ask again."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/jobs/")
    assert connection.getresponse().read()
    assert connection.sock is not None
    return connection


HOSTILE = {
    "malformed": ("{", "invalid_message"),
    "no object": ("[1]", "invalid_message"),
    "unknown type": ('{"type": "shutdown"}', "invalid_message"),
    "attribute": ('{"type": "websocket.disconnect"}', "invalid_message"),
    "deep nesting": ("[" * 30_000, "invalid_message"),
    "wrong field": ('{"type": "subscribe", "job_id": 7}', "invalid_message"),
    "wrong since": ('{"type": "subscribe", "job_id": "job-123", "since": "x"}', "invalid_message"),
    "binary": (b"\x00\x01", "invalid_message"),
}


async def test_hostile_frames__one_answer_and_one_line_each_others_undisturbed(sqlite_site: Site) -> None:
    sqlite_site.worker(JOB)
    served = sqlite_site.serve()
    async with Follower(served.ws_url, "job-123") as bystander:
        async with connect(f"{served.ws_url}/progress/ws") as socket:
            for frame, code in HOSTILE.values():
                await socket.send(frame)
                answer = json.loads(await socket.recv())
                assert (answer["type"], answer["code"]) == ("error", code)
            await socket.send('{"type": "ping"}')
            assert json.loads(await socket.recv())["type"] == "pong"
        async with connect(f"{served.ws_url}/progress/ws") as socket:
            await socket.send("x" * 1_000_000)
            await socket.wait_closed()
            assert socket.close_code == 1009
        await asyncio.to_thread(sqlite_site.worker, RUN)
        await bystander.until_finished()
        assert bystander.connections == 1
        assert bystander.seqs == list(range(2, 104))
    refusals = [line for line in served.log_text().splitlines() if "was refused" in line]
    assert len(refusals) == 1  # and how many have followed is logged a minute later
    assert "Traceback" not in served.log_text()

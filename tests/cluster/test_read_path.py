"""What a server does about a database that says nothing, and what it leaves in Redis: all real."""

import asyncio
import contextlib
import json
import urllib.request
from typing import Any

import psycopg
import pytest
import redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from jobs import threads
from progress.delivery import reads
from progress.protocol.codes import CloseCode
from tests.cluster.follower import Follower
from tests.installation import Site
from tests.servers import RedisServer, silent

WAIT_SECONDS = 30.0  # for what must come
SOON = 2.0  # seconds, in which what asks no database is answered

CREATE = """
import sys
from jobs.lifecycle import ProcessingJobLifecycle
for name in sys.argv[1:]:
    ProcessingJobLifecycle.create(name, public=True).mark_started()
"""
REPORT = """
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle("job-123")
job.mark_progress(50, message="after it was silent")
print(job.job.epoch)
"""


async def answer(socket: ClientConnection, seconds: float = WAIT_SECONDS, **message: Any) -> Any:
    await socket.send(json.dumps(message))
    async with asyncio.timeout(seconds):
        return json.loads(await socket.recv())


@pytest.mark.slow
async def test_postgres__that_is_silent_keeps_nobody_waiting_and_heals(postgres_site: Site) -> None:
    postgres_site.worker(CREATE, "job-123", "other")
    served = postgres_site.serve()
    unanswered = reads.READ_SECONDS + SOON
    async with (
        Follower(served.ws_url, "job-123") as follower,
        connect(f"{served.ws_url}/progress/ws", ping_interval=None) as socket,
    ):
        with silent(postgres_site.database_url):
            asked = asyncio.ensure_future(answer(socket, unanswered, type="subscribe", job_id="other"))
            async with connect(f"{served.ws_url}/progress/ws/other", ping_interval=None) as watching:
                assert (await answer(watching, SOON, type="ping"))["type"] == "pong"
                assert (await asked)["code"] == "unavailable"
                async with asyncio.timeout(unanswered):
                    assert json.loads(await watching.recv())["code"] == "unavailable"
                    with contextlib.suppress(ConnectionClosed):
                        await watching.recv()
                assert watching.close_code == CloseCode.RESYNC
            assert (await answer(socket, SOON, type="ping"))["type"] == "pong"
        epoch = (await asyncio.to_thread(postgres_site.worker, REPORT)).strip()
        await follower.until(lambda: follower.last["message"] == "after it was silent")
        assert {frame["epoch"] for frame in follower.frames if frame["type"] == "snapshot"} == {epoch}
        async with asyncio.timeout(WAIT_SECONDS):
            while (await answer(socket, type="subscribe", job_id="other"))["type"] != "snapshot":
                pass


async def test_postgres__that_cuts_its_connections_is_read_again(postgres_site: Site) -> None:
    postgres_site.worker(CREATE, "job-123")
    served = postgres_site.serve()
    async with Follower(served.ws_url, "job-123") as follower:
        with psycopg.connect(postgres_site.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        await asyncio.to_thread(postgres_site.worker, REPORT)
        await follower.until(lambda: follower.last["message"] == "after it was silent")
        assert follower.connections == 1


async def test_redis__nothing_is_left_of_those_who_have_left(make_site: Any, redis_server: RedisServer) -> None:
    names = [f"job-{number}" for number in range(30)]
    site: Site = make_site("sqlite+redis")
    site.worker(CREATE, *names)
    served = site.serve()
    server = redis.Redis.from_url(redis_server.url)

    async def watch(name: str) -> None:
        async with connect(f"{served.ws_url}/progress/ws/{name}", ping_interval=None) as socket:
            assert json.loads(await socket.recv())["type"] == "snapshot"

    async def nothing_is_left() -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while server.pubsub_channels():  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    try:
        for name in names:  # each the last of the process that leaves
            await watch(name)
        await nothing_is_left()
        for _ in range(3):
            await asyncio.gather(*map(watch, names))
        await nothing_is_left()
    finally:
        server.close()


def test_pages__leave_no_session_open(postgres_site: Site) -> None:
    """Under ASGI each request has a thread of its own: a session that was kept would be found by nobody."""
    postgres_site.worker(CREATE, "job-123")
    served = postgres_site.serve()
    for _ in range(30):
        with urllib.request.urlopen(f"{served.url}/jobs/job-123/") as page:
            assert page.status == 200
    with psycopg.connect(postgres_site.database_url) as connection:
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        row = connection.execute(count).fetchone()
    assert row is not None
    assert row[0] <= 2 * threads.MAX_THREADS

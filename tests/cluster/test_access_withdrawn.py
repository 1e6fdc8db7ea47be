"""Access withdrawn in every way there is, on two servers under traffic: with Redis, without, and with Redis frozen."""

import asyncio
import json
import time
import urllib.parse
import urllib.request
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from progress.protocol.codes import CloseCode
from tests.cluster.follower import WAIT_SECONDS, Worker
from tests.conftest import MakeSite
from tests.installation import Served
from tests.servers import RedisServer

SECONDS, HURRIED_SECONDS = 5.0, 1.0  # within which access ends: these bounds are the promise itself
SOCKETS = 2  # of each user on each server
WITHDRAWALS = Path(__file__).with_name("withdrawals.py")
NOT_FOUND = "job_not_found"

TRAFFIC = """
import sys, time
from jobs.lifecycle import ProcessingJobLifecycle
jobs = [ProcessingJobLifecycle(job_id) for job_id in sys.argv[1:]]
for step in range(100_000):
    for job in jobs:
        job.mark_progress(step % 100)
    time.sleep(0.05)
"""


class Watcher:
    """One socket that watches one job, and notes when it was last sent anything of it, and how it ended."""

    def __init__(self, socket: ClientConnection, job_id: str) -> None:
        self.socket, self.job_id = socket, job_id
        self.ended_at = float("inf")
        self.how: Any = None
        self.seqs: list[int] = []
        self.frames_after_the_end = 0
        self.ended = asyncio.Event()
        self._following = asyncio.ensure_future(self._follow())

    async def _follow(self) -> None:
        with suppress(ConnectionClosed):
            async for text in self.socket:
                self._take(json.loads(text))
        self._end(self.socket.close_code)

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "error":
            self._end(frame["code"])
        elif frame["type"] in ("progress", "snapshot"):
            self.frames_after_the_end += self.ended.is_set()
            self.seqs.append(frame["seq"])

    def _end(self, how: Any) -> None:
        if not self.ended.is_set():
            self.ended_at, self.how = time.time(), how
            self.ended.set()

    def stop(self) -> None:
        self._following.cancel()


def post_logout(served: Served, session: str) -> float:
    """Sign out as a browser does; return when that was done."""
    token = "t" * 32
    request = urllib.request.Request(
        f"{served.url}/admin/logout/",
        urllib.parse.urlencode({"csrfmiddlewaretoken": token}).encode(),
        {"Cookie": f"sessionid={session}; csrftoken={token}"},
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
    return time.time()


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("redis", ["redis", "none", "frozen"])
async def test_access__withdrawn_in_each_way_ends_in_time_and_nothing_is_sent_after(
    redis: str, make_site: MakeSite, redis_server: RedisServer
) -> None:
    site = make_site("postgres" if redis == "none" else "postgres+redis")
    worker = Worker(site.start_worker(WITHDRAWALS))
    made = json.loads(await worker.says())
    servers = [site.serve(), site.serve()]
    watchers: dict[str, list[Watcher]] = {}
    async with AsyncExitStack() as stack:
        for way, key in made["keys"].items():
            sockets = [await stack.enter_async_context(opened(served, way, key)) for served in servers * SOCKETS]
            watchers[way] = [Watcher(socket, f"job-{way}") for socket in sockets]
            for watcher in watchers[way]:
                stack.callback(watcher.stop)
        frozen = stack.enter_context(ExitStack())
        if redis == "frozen":
            frozen.enter_context(redis_server.frozen())
        site.start_worker(TRAFFIC, *(f"job-{way}" for way in made["keys"]))
        everybody = [watcher for some in watchers.values() for watcher in some]
        await until(lambda: all(len(watcher.seqs) > 2 for watcher in everybody))
        done: dict[str, float] = {}
        for way in (*made["told"], *made["by_sql"]):
            if way == "logout":
                done[way] = await asyncio.to_thread(post_logout, servers[0], made["keys"][way])
            else:
                worker.process.stdin.write(f"{way}\n")
                worker.process.stdin.flush()
                done[way] = float(await worker.says())
            if redis == "redis" and way in made["told"]:  # one after the other, so that none is hurried by another
                await all_ended(watchers[way])
        for way in done:
            await all_ended(watchers[way])
        counts = [len(watcher.seqs) for way in made["stay"] for watcher in watchers[way]]
        staying = [watcher for way in made["stay"] for watcher in watchers[way]]
        await until(lambda: all(len(watcher.seqs) > count + 5 for watcher, count in zip(staying, counts, strict=True)))
    took = {way: max(watcher.ended_at for watcher in watchers[way]) - at for way, at in done.items()}
    for way, seconds in took.items():
        assert seconds < (HURRIED_SECONDS if redis == "redis" and way in made["told"] else SECONDS), way
        for watcher in watchers[way]:
            assert watcher.how in ENDS[way.rpartition("-")[2]], way
            assert watcher.frames_after_the_end == 0
    for watcher in staying:
        assert watcher.how in (None, 1000)
        assert watcher.seqs == list(range(watcher.seqs[0], watcher.seqs[0] + len(watcher.seqs)))


# The socket itself stays where it is of use; the jobs of a user who is deleted lose their owner as well.
ENDS: dict[str, frozenset[Any]] = {
    **dict.fromkeys(("logout", "session", "password", "deactivated"), frozenset({CloseCode.TOKEN_EXPIRED})),
    **dict.fromkeys(("staff", "group", "permission", "owner", "public"), frozenset({NOT_FOUND})),
    "deleted": frozenset({CloseCode.TOKEN_EXPIRED, NOT_FOUND}),
}


def opened(served: Served, way: str, key: str) -> connect:
    return connect(
        f"{served.ws_url}/progress/ws/job-{way}",
        origin=served.url,  # type: ignore[arg-type]
        additional_headers={"Cookie": f"sessionid={key}"},
        max_queue=None,
    )


async def all_ended(watchers: list[Watcher]) -> None:
    for watcher in watchers:
        await asyncio.wait_for(watcher.ended.wait(), 2 * SECONDS)


async def until(condition: Any) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)

"""Limits over all servers that share a Redis: exact at once, and free again soon after a server is killed."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from redis import Redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from progress.protocol.codes import CloseCode
from tests.conftest import MakeSite
from tests.installation import Served
from tests.servers import RedisServer

HEALED_SECONDS = 6.0  # after a server was killed
CREATE = 'from jobs.lifecycle import ProcessingJobLifecycle as L; L.create("job-1", public=True)'
MakeServers = Callable[..., list[Served]]
FEED = {"type": "subscribe", "feed": "all"}
JOB = {"type": "subscribe", "job_id": "job-1"}


class Crowd:
    """Sockets at servers, of one client."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.served: dict[Served, list[ClientConnection]] = {}

    async def come(self, server: Served) -> bool:
        """Open a socket; return whether it is served."""
        socket = await self._stack.enter_async_context(connect(f"{server.ws_url}/progress/ws", ping_interval=None))
        is_served = await self._is_served(socket, FEED, "feed")
        if is_served:
            self.served.setdefault(server, []).append(socket)
        return is_served

    async def watch(self) -> int:
        """Let each that is served watch the job as well; return how many may."""
        sockets = [socket for sockets in self.served.values() for socket in sockets]
        return sum(await asyncio.gather(*(self._is_served(socket, JOB, "snapshot") for socket in sockets)))

    async def _is_served(self, socket: ClientConnection, ask: dict[str, Any], answer: str) -> bool:
        with contextlib.suppress(ConnectionClosed):  # it may be turned away before it asks
            await socket.send(json.dumps(ask))
        frame = json.loads(await socket.recv())
        if frame["type"] == answer:
            return True
        assert frame["code"] == "too_many_connections", frame
        await socket.wait_closed()
        assert socket.close_code == CloseCode.TOO_MANY_CONNECTIONS
        return False

    async def at_once(self, servers: list[Served], each: int) -> int:
        """Open as many at each server, all at once; return how many are served."""
        return sum(await asyncio.gather(*(self.come(server) for server in servers for _ in range(each))))


@asynccontextmanager
async def crowd() -> AsyncIterator[Crowd]:
    async with AsyncExitStack() as stack:
        yield Crowd(stack)


@pytest.fixture
def servers(make_site: MakeSite, redis_server: RedisServer) -> MakeServers:
    def servers(number: int, **settings: str) -> list[Served]:
        with Redis.from_url(redis_server.url) as redis:
            redis.flushall()  # servers that an earlier test has killed hold their places for some seconds
        site = make_site("sqlite+redis", **settings)
        site.worker(CREATE)
        return [site.serve() for _ in range(number)]

    return servers


async def seconds_until_served(all_: Crowd, server: Served) -> float:
    began = time.monotonic()
    while not await all_.come(server):  # noqa: ASYNC110  (a place that is free tells nobody)
        await asyncio.sleep(0.1)
    return time.monotonic() - began


async def test_limits__are_of_all_servers_and_of_each_while_redis_is_away(
    servers: MakeServers, redis_server: RedisServer
) -> None:
    two = servers(2, PROGRESS_MAX_CONNECTIONS_PER_CLIENT="20", PROGRESS_MAX_WATCHERS_PER_JOB="5")
    async with crowd() as all_:
        assert await all_.at_once(two, 15) == 20
        assert await all_.watch() == 5
        await seconds_until_served(all_, two[0])  # since those who may not watch are gone
        await asyncio.to_thread(redis_server.kill)
        assert await all_.at_once(two, 20) > 14  # that are free of 20, and up to 20 each
    for server in two:
        assert server.log_text().count("Limits count in this process only") == 1


@pytest.mark.slow
async def test_limit__is_exact_at_once_and_free_soon_after_a_kill(servers: MakeServers) -> None:
    four = servers(4, PROGRESS_MAX_CONNECTIONS_PER_CLIENT="200")
    async with crowd() as all_:
        assert await all_.at_once(four, 150) == 200
        killed, *others = sorted(four, key=lambda server: -len(all_.served.get(server, ())))
        killed.kill()
        assert await seconds_until_served(all_, others[0]) <= HEALED_SECONDS
        freed = len(all_.served[killed])
        assert await all_.at_once(others, freed) == freed - 1

"""A socket on which nothing is said for longer than the proxies allow: the server's pings keep it."""

import asyncio
import json
import time
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import MakeSite
from tests.deploy.conftest import two_servers
from tests.proxies import Proxy

LIMIT = "60s"  # of silence, in the files of nginx and HAProxy; Caddy has none
SILENT_SECONDS = 70.0
SHORT, SHORT_SECONDS = "5s", 8.0  # Daphne looks every 2 s for whom to ping
NEVER = {"PROGRESS_HEARTBEAT_SECONDS": "600"}  # so that only pings are left


def shorten(proxy: Proxy) -> None:
    """Have a proxy cut after a shorter silence."""
    text = proxy.config.read_text()
    assert LIMIT in text or proxy.program == "caddy"
    proxy.config.write_text(text.replace(LIMIT, SHORT))


async def survivors(proxy: Proxy, seconds: float) -> list[bool]:
    """Open two sockets that watch, say nothing for so long, and tell which of them still answer."""
    async with AsyncExitStack() as stack:
        url, how = f"{proxy.ws_url}/progress/ws", {"ssl": proxy.trusting, "ping_interval": None}
        sockets = [await stack.enter_async_context(connect(url, **how)) for _ in range(2)]
        for each in sockets:
            await each.send('{"type": "subscribe", "feed": "all"}')
            assert json.loads(await each.recv())["type"] == "feed"
        began = time.monotonic()
        closed = [asyncio.create_task(each.wait_closed()) for each in sockets]
        await asyncio.wait(closed, timeout=seconds)
        assert all(task.done() for task in closed) or time.monotonic() - began >= seconds - 0.1
        for each in sockets:
            try:
                await each.send('{"type": "ping"}')
                assert json.loads(await each.recv())["type"] == "pong"
            except ConnectionClosed:
                pass
        return [each.close_code is None for each in sockets]


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_silence__longer_than_the_proxys_limit(make_site: MakeSite, folder: Path, made: Proxy) -> None:
    two_servers(make_site("sqlite"), folder, **NEVER)
    with closing(made.start()):
        assert await survivors(made, SILENT_SECONDS) == [True, True]


@pytest.mark.slow
@pytest.mark.parametrize("made", ["nginx", "haproxy"], indirect=True)
async def test_silence__is_cut_without_pings_and_kept_with_them(make_site: MakeSite, folder: Path, made: Proxy) -> None:
    shorten(made)
    site = make_site("sqlite")
    servers = two_servers(site, folder, "--ping-interval", "1", **NEVER)
    with closing(made.start()):
        assert await survivors(made, SHORT_SECONDS) == [True, True]
    for each in servers:
        each.kill()
    two_servers(site, folder, "--ping-interval", "600", **NEVER)
    with closing(made.start()):
        assert await survivors(made, SHORT_SECONDS) == [False, False]

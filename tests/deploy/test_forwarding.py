"""What reaches the servers of a client, through each proxy over TLS."""

import asyncio
import http.client
import json
from contextlib import AsyncExitStack, closing, suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.deploy.telling import SEEN
from tests.proxies import PROGRAMS, Proxy

FORGED = {
    "X-Forwarded-For": "192.0.2.66",
    "X-Forwarded-Port": "66",
    "X-Forwarded-Proto": "javascript",
    "X-Real-IP": "192.0.2.66",
    "Forwarded": "for=192.0.2.66;proto=http",
    "Daphne-Root-Path": "javascript:alert(1)//",
}


def address(proxy: Proxy, number: int) -> str:
    """Return one of this machine's addresses, which no other test uses: a server takes one socket of each."""
    return f"127.0.{1 + PROGRAMS.index(proxy.program)}.{number}"


def opened(proxy: Proxy, own: str, path: str = "/progress/ws", **options: Any) -> connect:
    """Open a socket from an address.

    Not with the client for threads: it writes in one and reads in another, which Python's TLS does not bear.
    """
    where = {"host": "127.0.0.1", "port": proxy.port, "local_addr": (own, 0)}
    return connect(f"{proxy.ws_url}{path}", ssl=proxy.trusting, **where, **options)


@pytest.mark.parametrize("headers", [{}, FORGED], ids=["plain", "forged"])
async def test_client__is_whom_the_proxy_sees_whatever_it_says_of_itself(
    standing: Proxy, headers: dict[str, str]
) -> None:
    page = await asyncio.to_thread(page_seen, standing, headers)
    assert page.pop("client") == page.pop("own")
    assert page == {"scheme": "https", "root_path": ""}
    async with opened(standing, address(standing, 3), SEEN, additional_headers=headers) as watching:
        assert json.loads(await watching.recv()) == {"client": list(watching.local_address), "scheme": "wss"}


def page_seen(proxy: Proxy, headers: dict[str, str]) -> dict[str, Any]:
    """Return what a server sees of a request, and what address that came from."""
    own, trusting = (address(proxy, 2), 0), proxy.trusting
    with closing(http.client.HTTPSConnection("localhost", proxy.port, source_address=own, context=trusting)) as page:
        page.request("GET", SEEN, headers=headers)
        client = list(page.sock.getsockname())
        return {"own": client, **json.loads(page.getresponse().read())}


async def test_limits__count_the_clients_address(standing: Proxy) -> None:
    async with AsyncExitStack() as stack:
        forged = [opened(standing, address(standing, 4), additional_headers=FORGED) for _ in range(3)]
        ours = [await stack.enter_async_context(opening) for opening in forged]
        assert 1 <= [await is_served(watching) for watching in ours].count(True) <= 2  # one of each server at most
        assert await is_served(await stack.enter_async_context(opened(standing, address(standing, 5))))


async def is_served(watching: ClientConnection) -> bool:
    with suppress(ConnectionClosed):
        await watching.send('{"type": "ping"}')
        return bool(json.loads(await watching.recv())["type"] == "pong")
    return False


async def test_origin__of_its_own_pages_alone(standing: Proxy) -> None:
    own = address(standing, 6)
    async with opened(standing, own, origin=standing.url) as watching:
        assert await is_served(watching)
    for foreign in (standing.url.replace("https:", "http:"), "https://elsewhere.example"):
        with pytest.raises(InvalidStatus, match="403"):
            await opened(standing, own, origin=foreign)


def test_http__is_sent_to_https(standing: Proxy) -> None:
    with closing(http.client.HTTPConnection("localhost", standing.plain_port)) as connection:
        connection.request("GET", "/jobs/job-1/?a=b")
        answer = connection.getresponse()
    assert answer.status in (301, 308)
    assert answer.getheader("location", "").endswith("/jobs/job-1/?a=b")
    assert answer.getheader("location", "").startswith("https://localhost")


def test_body__is_taken_up_to_the_limit_of_the_servers(standing: Proxy) -> None:
    for length, statuses in ((3 * 1024 * 1024 - 1, {403}), (3 * 1024 * 1024 + 1, {413})):  # 403: Django's, of CSRF
        with closing(http.client.HTTPSConnection("localhost", standing.port, context=standing.trusting)) as page:
            page.request("POST", "/admin/login/", body=b"x" * length)
            assert page.getresponse().status in statuses

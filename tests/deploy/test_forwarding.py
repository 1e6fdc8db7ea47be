"""What reaches the servers of a client, through each proxy over TLS."""

import http.client
import json
import socket
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

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


def opened(proxy: Proxy, own: str, path: str = "/progress/ws", **options: Any) -> ClientConnection:
    """Open a socket from an address."""
    link = socket.create_connection(("127.0.0.1", proxy.port), 20, source_address=(own, 0))
    return connect(f"{proxy.ws_url}{path}", sock=link, ssl=proxy.trusting, **options)


@pytest.mark.parametrize("headers", [{}, FORGED], ids=["plain", "forged"])
def test_client__is_whom_the_proxy_sees_whatever_it_says_of_itself(standing: Proxy, headers: dict[str, str]) -> None:
    own, trusting = (address(standing, 2), 0), standing.trusting
    with closing(http.client.HTTPSConnection("localhost", standing.port, source_address=own, context=trusting)) as page:
        page.request("GET", SEEN, headers=headers)
        client = list(page.sock.getsockname())
        assert json.loads(page.getresponse().read()) == {"client": client, "scheme": "https", "root_path": ""}
    with opened(standing, address(standing, 3), SEEN, additional_headers=headers) as watching:
        assert json.loads(watching.recv()) == {"client": list(watching.socket.getsockname()), "scheme": "wss"}


def test_limits__count_the_clients_address(standing: Proxy) -> None:
    with ExitStack() as stack:
        ours = [
            stack.enter_context(opened(standing, address(standing, 4), additional_headers=FORGED)) for _ in range(3)
        ]
        assert 1 <= sum(map(is_served, ours)) <= 2  # each of the two servers takes one at most
        assert is_served(stack.enter_context(opened(standing, address(standing, 5))))


def is_served(watching: ClientConnection) -> bool:
    with suppress(ConnectionClosed):
        watching.send('{"type": "ping"}')
        return bool(json.loads(watching.recv())["type"] == "pong")
    return False


def test_origin__of_its_own_pages_alone(standing: Proxy) -> None:
    with opened(standing, address(standing, 6), origin=standing.url) as watching:
        assert is_served(watching)
    for foreign in (standing.url.replace("https:", "http:"), "https://elsewhere.example"):
        with pytest.raises(InvalidStatus, match="403"):
            opened(standing, address(standing, 6), origin=foreign)


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

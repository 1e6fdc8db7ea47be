"""How long a server waits for strangers, and for how many: handshakes of an address, half requests, idle sockets."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from progress.protocol.codes import CloseCode
from tests.cluster.test_strangers import UPGRADE
from tests.conftest import MakeSite
from tests.installation import Served

SECONDS = 20.0
PATIENCE = 0.3
CREATE = 'from jobs.lifecycle import ProcessingJobLifecycle as L; L.create("job-1", public=True)'


@contextlib.contextmanager
def link(served: Served) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", served.port), SECONDS) as opened:
        yield opened


def everything(opened: socket.socket) -> bytes:
    """Return what comes until the end."""
    with opened.makefile("rb") as answer, contextlib.suppress(ConnectionError):
        return answer.read()
    return b""


def test_handshakes__of_one_address_are_limited_without_an_application_or_a_line(make_site: MakeSite) -> None:
    served = make_site("sqlite").serve(
        "--proxy-headers", PROGRESS_MAX_HANDSHAKES_BURST="3", PROGRESS_MAX_HANDSHAKES_PER_SECOND="0.1"
    )
    url = f"{served.ws_url}/progress/ws"
    of = {"X-Forwarded-For": "2001:db8::1"}
    for _ in range(3):
        with connect(url, additional_headers=of):
            pass
    for number in range(20):
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(url, additional_headers={"X-Forwarded-For": f"2001:db8::{number:x}"}),
        ):
            pass
        assert refused.value.response.status_code == 429
        assert refused.value.response.headers["Retry-After"] == "1"
        assert b"PROGRESS_MAX_HANDSHAKES_PER_SECOND" in (refused.value.response.body or b"")
    assert served.log_text().count("WSCONNECTING") == 3
    assert served.log_text().count("was refused") == 1  # of 20
    with connect(url, additional_headers={"X-Forwarded-For": "2001:db8:0:1::1"}):
        pass
    with link(served) as opened:  # a page is no handshake
        opened.sendall(b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 2001:db8::1\r\n\r\n")
        assert b" 200 " in everything(opened).splitlines()[0]


def test_headers__have_to_come_soon_and_are_bounded(make_site: MakeSite) -> None:
    served = make_site("sqlite").serve(PROGRESS_HEADER_SECONDS=str(PATIENCE))
    with link(served) as silent, link(served) as half, link(served) as trickling, link(served) as second:
        half.sendall(UPGRADE[:-2])
        second.sendall(b"GET /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert second.recv(100).startswith(b"HTTP/1.1 ")
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            trickling.sendall(b"GET / HTTP/1.1\r\n")
            while time.monotonic() < began + SECONDS:
                trickling.sendall(b"X: y\r\n")
                time.sleep(PATIENCE / 10)  # a slow client
        assert time.monotonic() < began + SECONDS
        assert everything(silent) == b""
        assert everything(half).startswith(b"HTTP/1.1 408 ")
        second.sendall(b"GET / HTTP/1.1\r\n")  # of a connection that was used
        assert b"HTTP/1.1 408 " in everything(second)
    for headers, status in (
        (b"X: y\r\n" * 600, b"400"),
        (b"X: " + b"y" * 10_000 + b"\r\nY: " + b"y" * 10_000 + b"\r\n", b"400"),
        (b"X: " + b"y" * 17_000 + b"\r\n", b"431"),
    ):
        with link(served) as opened:
            opened.sendall(b"GET / HTTP/1.1\r\n" + headers + b"\r\n")
            assert everything(opened).startswith(b"HTTP/1.1 " + status), headers[:9]
    assert "Traceback" not in served.log_text()


def test_idle__a_stranger_who_watches_nothing_is_told_to_come_back(make_site: MakeSite) -> None:
    site = make_site("sqlite")
    site.worker(CREATE)
    served = site.serve(PROGRESS_IDLE_SECONDS=str(PATIENCE))
    url = f"{served.ws_url}/progress/ws"
    with connect(url) as idle, connect(f"{url}/job-1") as watching, connect(url) as feed:
        feed.send('{"type": "subscribe", "feed": "all"}')
        error = json.loads(idle.recv())
        assert (error["code"], error["temporary"]) == ("idle", True)
        with contextlib.suppress(Exception):
            idle.recv()
        assert idle.close_code == CloseCode.IDLE
        for other in (watching, feed):
            other.recv()
            other.send('{"type": "ping"}')
            assert json.loads(other.recv())["type"] == "pong"
        watching.send('{"type": "unsubscribe", "job_id": "job-1"}')
        assert [json.loads(watching.recv())["type"] for _ in range(2)] == ["unsubscribed", "error"]

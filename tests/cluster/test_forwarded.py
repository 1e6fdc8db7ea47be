"""What `serve --proxy-headers` believes of a client's address and scheme, and what nobody."""

import http.client
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect, unix_connect

from tests.conftest import MakeSite
from tests.installation import Served
from tests.sampling import first_quick

Start = Callable[..., Served]


@pytest.fixture
def start(make_site: MakeSite) -> Start:
    def start(*options: str, **settings: str) -> Served:
        return make_site("sqlite").serve(*options, application="tests.cluster.accepting:application", **settings)

    return start


def seen(served: Served, *headers: tuple[str, bytes]) -> dict[str, Any]:
    """Return what the application sees of a request with these headers."""
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)) as connection:
        connection.putrequest("GET", "/")
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 200
        found: dict[str, Any] = json.loads(answer.read())
        return found


HERE = "127.0.0.1"


def test_forwarded_for__of_one_proxy(start: Start) -> None:
    served = start("--proxy-headers")
    for said, believed in (
        ([b"192.0.2.7"], "192.0.2.7"),
        ([b"10.0.0.1, 192.0.2.7"], "192.0.2.7"),  # the first is the client's own word
        ([b"10.0.0.1", b"192.0.2.7"], "192.0.2.7"),
        ([b"2001:db8::1"], "2001:db8::1"),
        ([b"[2001:db8::1]:443"], "2001:db8::1"),
        ([b"192.0.2.7:5000"], "192.0.2.7"),
        ([b"::ffff:192.0.2.7"], "192.0.2.7"),
        ([b"fe80::1%eth0"], "fe80::1"),
        ([b"fe80::1%<script>"], "fe80::1"),
        ([b"[::1"], "::1"),
        ([b"<script>"], HERE),
        ([], HERE),
        ([b"\xff"], HERE),
        ([b"192.0.2.7, \xff"], HERE),
        ([b"unknown"], HERE),
        ([b"192.0.2.7,"], HERE),
        ([b"javascript:alert(1)"], HERE),
        ([b"x" * 5000], HERE),
    ):
        assert seen(served, *(("X-Forwarded-For", value) for value in said))["client"][0] == believed, said
    assert "Traceback" not in served.log_text()


def test_forwarded__is_believed_of_trusted_proxies_only(start: Start) -> None:
    served = start("--proxy-headers", PROGRESS_TRUSTED_PROXIES="10.0.0.0/8, 192.0.2.1")
    headers = ("X-Forwarded-For", b"192.0.2.7"), ("X-Forwarded-Proto", b"https"), ("X-Forwarded-Port", b"1")
    for _ in range(3):
        found = seen(served, *headers)
        assert (found["client"][0], found["scheme"]) == (HERE, "http")
        assert found["client"][1] > 1
    assert served.log_text().count("127.0.0.1 is not in PROGRESS_TRUSTED_PROXIES") == 1
    with connect(served.ws_url, additional_headers={"X-Forwarded-For": "192.0.2.7"}) as socket:
        assert json.loads(socket.recv())["client"][0] == HERE


def test_forwarded__is_believed_of_who_may_open_the_unix_socket(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    start("--proxy-headers", "-u", path, PROGRESS_TRUSTED_PROXIES="")
    with unix_connect(path, "ws://site/", additional_headers={"X-Forwarded-For": "192.0.2.7"}) as socket:
        assert json.loads(socket.recv())["client"] == ["192.0.2.7", 0]


def test_forwarded_for__of_two_proxies(start: Start) -> None:
    served = start("--proxy-headers", PROGRESS_PROXIES="2")
    said = b"10.0.0.1, 192.0.2.7, 10.1.1.1"
    assert seen(served, ("X-Forwarded-For", said))["client"][0] == "192.0.2.7"
    assert seen(served, ("X-Forwarded-For", b"192.0.2.7"))["client"][0] == "192.0.2.7"


def test_forwarded_proto__is_a_scheme_or_nothing(start: Start) -> None:
    served = start("--proxy-headers")
    address = "X-Forwarded-For", b"192.0.2.7"
    for said, believed in (
        (b"https", "https"),
        (b"HTTPS", "https"),
        (b"http", "http"),
        (b"wss", "https"),
        (b"http, https", "https"),
        (b"javascript", "http"),
        (b"\xff", "http"),
        (b"", "http"),
    ):
        found = seen(served, address, ("X-Forwarded-Proto", said), ("X-Forwarded-Port", b"\xff"))
        assert (found["client"], found["scheme"]) == (["192.0.2.7", 0], believed), said
    assert seen(served, ("X-Forwarded-Proto", b"https"))["scheme"] == "https"  # with no address, or one that is none
    assert seen(served, ("X-Forwarded-For", b"\xff"), ("X-Forwarded-Proto", b"https"))["scheme"] == "https"
    assert seen(served, address, ("X-Forwarded-Port", b"5000"))["client"] == ["192.0.2.7", 5000]


def test_forwarded__of_a_websocket(start: Start) -> None:
    served = start("--proxy-headers")
    headers = {"X-Forwarded-For": "10.0.0.1, 192.0.2.7", "X-Forwarded-Proto": "https"}
    with connect(served.ws_url, additional_headers=headers) as socket:
        assert json.loads(socket.recv()) == {"client": ["192.0.2.7", 0], "scheme": "wss"}
    with connect(served.ws_url) as socket:
        assert json.loads(socket.recv())["scheme"] == "ws"


def test_forwarded__is_nothing_without_a_proxy(start: Start) -> None:
    served = start()
    headers = ("X-Forwarded-For", b"192.0.2.7"), ("X-Forwarded-Proto", b"https")
    found = seen(served, *headers)
    assert (found["client"][0], found["scheme"]) == (HERE, "http")


@pytest.mark.parametrize("options", first_quick([("--proxy-headers",), ()]))
def test_root_path__is_not_for_a_client_to_say(start: Start, options: tuple[str, ...]) -> None:
    served = start(*options)
    assert seen(served, ("Daphne-Root-Path", b"javascript:alert(1)//"))["root_path"] == ""
    assert seen(start(*options, "--root-path", "/below"))["root_path"] == "/below"

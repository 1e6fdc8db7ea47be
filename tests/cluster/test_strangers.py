"""What a stranger can take of a server: no memory to speak of, and no turn of the others."""

import base64
import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from progress.protocol.codes import CloseCode
from tests.conftest import MakeSite
from tests.installation import Served, Site
from tests.sampling import first_quick
from tests.servers import silent

MIB = 1024**2
BOUND = 40 * MIB
SECONDS = 20.0
CREATE = 'from jobs.lifecycle import ProcessingJobLifecycle as L; L.create("job-1", public=True)'
UPGRADE = (
    b"GET /progress/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TEXT, PING, PONG, CLOSE, CONTINUATION = 1, 9, 10, 8, 0


class Stranger:
    """A WebSocket client that minds no rule, byte by byte."""

    def __init__(self, served: Served, path: str = "/progress/ws", *, headers: str = "") -> None:
        self._link = socket.create_connection(("127.0.0.1", served.port), SECONDS)
        self._link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        key = base64.b64encode(os.urandom(16)).decode()
        self._link.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{headers}\r\n".encode()
        )
        self._input = self._link.makefile("rb")
        self.status = int(self._input.readline().split()[1])
        while self._input.readline() not in (b"\r\n", b""):
            pass

    def __enter__(self) -> "Stranger":
        return self

    def __exit__(self, *_: object) -> None:
        self._input.close()
        self._link.close()

    def send(self, *frames: bytes) -> None:
        self._link.sendall(b"".join(frames))

    def flood(self, data: bytes, times: int) -> None:
        """Send all that the server takes, as often, until it takes no more for a moment or cuts us off."""
        self._link.settimeout(0.5)
        with contextlib.suppress(OSError):
            for _ in range(times):
                self._link.sendall(data)
        self._link.settimeout(SECONDS)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Yield opcode and payload of each frame until the connection ends, in good order or not."""
        with contextlib.suppress(ConnectionError):
            while head := self._input.read(2):
                length = head[1]
                if length == 126:
                    length = int.from_bytes(self._input.read(2))
                elif length == 127:
                    length = int.from_bytes(self._input.read(8))
                yield head[0] & 15, self._input.read(length)

    def close_code(self) -> int | None:
        """Return the code that the server closes with, and None where it cuts the connection without."""
        codes = [int.from_bytes(payload[:2]) for opcode, payload in self.frames() if opcode == CLOSE]
        return codes[0] if codes else None


def frame(payload: bytes = b"", opcode: int = TEXT, *, final: bool = True) -> bytes:
    """Return a client's frame, masked with zeros."""
    assert len(payload) < 65_536
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack("!H", len(payload))
    return bytes([opcode | 0x80 * final]) + size + bytes(4) + payload


def json_ping() -> bytes:
    return frame(b'{"type":"ping"}')


def memory(served: Served) -> int:
    """Return the bytes of memory that a server has had at most."""
    status = Path(f"/proc/{served.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


@pytest.fixture
def served(make_site: MakeSite) -> Served:
    site = make_site("sqlite")
    site.worker(CREATE)
    return site.serve()


@pytest.mark.parametrize(
    "aside",
    first_quick(
        {
            "ping": frame(bytes(125), PING),
            "pong": frame(bytes(125), PONG),
            "part": frame(b"", CONTINUATION, final=False),
        }
    ),
)
def test_control_frames__count_like_messages(served: Served, aside: bytes) -> None:
    before = memory(served)
    with Stranger(served) as stranger:
        if aside[0] & 15 == CONTINUATION:
            stranger.send(frame(b"", final=False))
        stranger.flood(aside * 1000, 1000)  # 130 MB, and of a ping as much comes back
        assert stranger.close_code() == CloseCode.TOO_MANY_MESSAGES
    assert memory(served) - before < BOUND


def test_pings__that_are_not_read_are_no_longer_answered(make_site: MakeSite) -> None:
    served = make_site("sqlite").serve(PROGRESS_MAX_MESSAGES_PER_SECOND="10000", PROGRESS_MAX_MESSAGES_BURST="100000",
                                       PROGRESS_MAX_CLIENT_MESSAGES_PER_SECOND="1000000")  # fmt: skip
    before = memory(served)
    with Stranger(served) as stranger:
        stranger.flood(frame(bytes(125), PING) * 1000, 1000)
    assert memory(served) - before < BOUND


@pytest.mark.parametrize("is_told", first_quick([False, True]))
def test_body__is_refused_while_it_comes(served: Served, is_told: bool) -> None:
    before = memory(served)
    length = f"Content-Length: {400 * MIB}" if is_told else "Transfer-Encoding: chunked"
    head = f"POST /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\n{length}\r\n\r\n"
    piece = bytes(MIB) if is_told else b"%x\r\n%s\r\n" % (MIB, bytes(MIB))
    with socket.create_connection(("127.0.0.1", served.port), SECONDS) as link, link.makefile("rb") as answer:
        link.sendall(head.encode())
        with contextlib.suppress(ConnectionError):
            for _ in range(400):
                link.sendall(piece)
        lines = answer.read()
    assert b" 413 Content Too Large\r\n" in lines
    assert b"PROGRESS_MAX_BODY_BYTES" in lines
    assert lines.startswith(b"HTTP/1.1 413" if is_told else b"HTTP/1.1 100")
    assert memory(served) - before < BOUND
    assert "Traceback" not in served.log_text()


def test_body__of_the_allowed_length_is_taken(make_site: MakeSite) -> None:
    served = make_site("sqlite").serve(PROGRESS_MAX_BODY_BYTES="2000")
    for length, status in ((2000, b"403"), (2001, b"413")):  # 403: without a token against forgery
        with socket.create_connection(("127.0.0.1", served.port), SECONDS) as link, link.makefile("rb") as answer:
            head = f"POST /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n"
            link.sendall(head.encode() + bytes(length))
            assert answer.readline().split()[1] == status


def test_body__that_goes_on_when_refused_takes_turns_as_messages_do(served: Served) -> None:
    """The rest is read and thrown away, or a client that reads its answer last would see a reset instead."""
    sent = 0
    with socket.create_connection(("127.0.0.1", served.port), SECONDS) as link, contextlib.suppress(ConnectionError):
        link.sendall(b"POST /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n\r\n")
        while sent < 1000 * MIB:
            sent += link.send(bytes(MIB))
    assert sent < BOUND  # of which the kernel holds ten


def test_body__that_never_ends_leaves_nothing_behind(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), SECONDS) as link:
        link.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nhalf of it")
    served.stop()
    assert "Traceback" not in served.log_text()


@pytest.mark.parametrize(
    "request_",
    first_quick({"POST": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000000\r\n\r\n", "WebSocket": UPGRADE}),
)
def test_coming_and_going__leaves_nothing_behind(served: Served, request_: bytes) -> None:
    """Neither for a second, as with Daphne, nor until Python looks for what is in a circle: both have others wait."""
    before = memory(served)
    for _ in range(3000):
        with socket.create_connection(("127.0.0.1", served.port), SECONDS) as link:
            link.sendall(request_)
            link.recv(1)
    assert memory(served) - before < BOUND / 5


@pytest.mark.slow
def test_messages__wait_in_the_client_while_the_database_is_silent(make_site: MakeSite) -> None:
    site: Site = make_site("postgres")
    site.worker(CREATE)
    served = site.serve(PROGRESS_MAX_MESSAGES_PER_SECOND="10000", PROGRESS_MAX_MESSAGES_BURST="100000",
                        PROGRESS_MAX_CLIENT_MESSAGES_PER_SECOND="1000000")  # fmt: skip
    before = memory(served)
    jobs = json.dumps({"type": "subscribe", "jobs": [{"job_id": f"job-{n:0>50}"} for n in range(128)]})
    long = frame(jobs.ljust(60_000).encode())
    with contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(Stranger(served)) for _ in range(5)]
        with silent(site.database_url):
            for stranger in strangers:
                stranger.flood(long, 1500)  # 90 MB of each
        assert memory(served) - before < BOUND


@pytest.mark.slow
def test_budget__is_that_of_the_address_and_outlives_its_sockets(make_site: MakeSite) -> None:
    served = make_site("sqlite").serve(PROGRESS_MAX_CLIENT_MESSAGES_PER_SECOND="10")
    began = time.monotonic()
    for _ in range(4):
        with Stranger(served) as stranger:
            stranger.send(json_ping() * 10)
            answers = stranger.frames()
            for _ in range(10):
                assert json.loads(next(answers)[1])["type"] == "pong"
    assert time.monotonic() - began > (40 - 20) / 10 - 0.2  # a burst of two seconds is free; clocks are not exact


def test_refused__is_cut_off_soon_though_it_does_not_answer(served: Served) -> None:
    with Stranger(served, "/progress/ws/nope") as stranger:
        began = time.monotonic()
        assert stranger.close_code() == CloseCode.JOB_NOT_FOUND
        assert time.monotonic() - began < 5  # of those who are patient with slow clients it is ten


def test_close__ends_without_a_reset(served: Served) -> None:
    with Stranger(served, "/progress/ws/nope") as stranger:
        code = next(payload[:2] for opcode, payload in stranger.frames() if opcode == CLOSE)
        stranger.send(frame(code, CLOSE))
        assert stranger._link.recv(1) == b""  # an end, and no ConnectionResetError


def test_origin__null_is_the_applications_to_judge(make_site: MakeSite) -> None:
    own = make_site("sqlite").serve(application="tests.cluster.accepting:application")
    with Stranger(own, headers="Origin: null\r\n") as stranger:
        assert stranger.status == 101


STAGES = """
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle("job-1")
job.mark_started()
for step in range(100):
    job.mark_progress(step, stage=f"stage {step}", metadata={"pad": "x" * 15_000})
"""


def test_slow_watcher__does_not_wait_in_the_kernel(make_site: MakeSite) -> None:
    """1.5 MB are more than its outbox and its buffers may have; the kernel alone would take 4."""
    site: Site = make_site("sqlite")
    site.worker(CREATE)
    served = site.serve(PROGRESS_OUTBOX_BYTES="65536", PROGRESS_SEND_SECONDS="3600", DJANGO_LOG_LEVEL="DEBUG")
    with Stranger(served, "/progress/ws/job-1"):
        site.worker(STAGES)
        served.wait_for_log("Closing a connection with 4008")

"""One WebSocket on Daphne: turns, slow readers, and messages of any length."""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import struct
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed

from progress.transports.daphne.server import ProgressServer
from progress.transports.daphne.ws_protocol import CLIENT_STEPS_A_TURN, STEPS_A_TURN, FrameProtocol, Turn
from tests.certificates import certificate
from tests.installation import Served, Site
from tests.ports import free_port
from tests.progress.transports.narrow import narrow_reader
from tests.sampling import first_quick


async def test_frames__wait_for_the_turn_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket from which much has come takes a few frames, and goes on when all others had their turn."""
    protocol = FrameProtocol()
    protocol.transport, protocol.state, protocol.data = Paused(), FrameProtocol.STATE_OPEN, b"x" * 1000
    protocol.turn = Turn()
    steps = 0

    def step() -> bool:
        nonlocal steps
        steps += 1
        protocol.data = protocol.data[1:]
        return bool(protocol.data)

    monkeypatch.setattr(protocol, "processData", step)
    protocol.consumeData()
    for turns in range(1, 5):
        assert steps == turns * STEPS_A_TURN
        assert protocol.transport.is_paused
        await asyncio.sleep(0)
    while protocol.data:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert steps == 1000
    assert not protocol.transport.is_paused


async def test_frames__a_client_has_one_turn_for_all_its_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = Turn()
    protocols = [FrameProtocol() for _ in range(100)]
    taken = dict.fromkeys(range(100), 0)

    def step(number: int) -> bool:
        taken[number] += 1
        return taken[number] < 1000

    for number, protocol in enumerate(protocols):
        protocol.transport, protocol.state, protocol.data = Paused(), FrameProtocol.STATE_OPEN, b"x"
        protocol.turn = turn
        monkeypatch.setattr(protocol, "processData", partial(step, number))
        protocol.consumeData()
    for turns in range(1, 101):
        assert sum(taken.values()) == turns * CLIENT_STEPS_A_TURN
        await asyncio.sleep(0)
    assert max(taken.values()) - min(taken.values()) <= STEPS_A_TURN, "none is left behind"


def test_turn__is_that_of_a_network_while_it_has_sockets() -> None:
    server = ProgressServer(None, endpoints=["tcp:0"])
    turn = server.turn_of("2001:db8::1")
    assert server.turn_of("2001:db8::2") is turn
    assert server.turn_of("1.2.3.4") is not turn
    assert server.turn_of(None) is not server.turn_of(None)
    del turn
    assert not server._turns


class Paused:
    """A transport that knows whether it is read from."""

    is_paused = False

    def pauseProducing(self) -> None:  # noqa: N802
        self.is_paused = True

    def resumeProducing(self) -> None:  # noqa: N802
        self.is_paused = False


EVENTS = """
import sys
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle("job-123")
job.mark_started()
for step in range(int(sys.argv[1])):
    job.mark_progress(step % 100, stage=f"stage {step}", metadata={"pad": "x" * 15_000})
job.mark_completed()
"""


def memory(served: Served) -> int:
    """Return the bytes of memory that a server has."""
    return int(Path(f"/proc/{served.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def unix_path() -> Iterator[str]:
    """A path short enough for a socket, which a test's own folder may not be."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"{folder}/site.sock"


async def closed_as_too_slow(served: Served, clients: int) -> None:
    """Wait until so many clients were closed as too slow, which only the log shows."""
    await asyncio.to_thread(served.wait_for_log, "Closing a connection with 4008", clients)


async def read_to_the_end(reader: ClientConnection) -> int:
    """Read what was under way, each frame whole; return the close code."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            json.loads(await reader.recv())
    assert reader.close_code is not None
    return reader.close_code


@pytest.mark.slow
async def test_slow_reader__learns_its_code_when_it_reads_again(sqlite_site: Site) -> None:
    sqlite_site.worker('from jobs.lifecycle import ProcessingJobLifecycle as L; L.create("job-123", public=True)')
    # Without a deadline, so that only the bound of the outbox can close it.
    served = sqlite_site.serve(PROGRESS_OUTBOX_BYTES="100000", PROGRESS_SEND_SECONDS="3600", DJANGO_LOG_LEVEL="DEBUG")
    async with narrow_reader(served, "job-123") as reader:
        await asyncio.to_thread(sqlite_site.worker, EVENTS, "500")
        await closed_as_too_slow(served, 1)
        await asyncio.sleep(1.5)  # Autobahn's own patience is 1 s
        assert await read_to_the_end(reader) == 4008


@pytest.mark.slow
async def test_unix_socket__slow_readers_are_bounded_and_get_the_code(sqlite_site: Site, unix_path: str) -> None:
    sqlite_site.worker('from jobs.lifecycle import ProcessingJobLifecycle as L; L.create("job-123", public=True)')
    served = sqlite_site.serve("-u", unix_path, DJANGO_LOG_LEVEL="DEBUG")
    url = "ws://localhost/progress/ws/job-123"
    readers = [await unix_connect(unix_path, url, max_queue=1, ping_interval=None) for _ in range(10)]
    before = memory(served)
    await asyncio.to_thread(sqlite_site.worker, EVENTS, "400")
    await closed_as_too_slow(served, 10)
    assert memory(served) - before < 25 * 1024**2  # unbounded, it is ten times the 6 MB of events
    assert [await read_to_the_end(reader) for reader in readers[1:]] == [4008] * 9
    began = time.monotonic()
    assert await asyncio.to_thread(served.stop) == 0
    assert time.monotonic() - began < 5  # it did not wait for the one that has not answered its close
    await read_to_the_end(readers[0])


BIG = """
from jobs.lifecycle import ProcessingJobLifecycle
for number in range(20):
    job = ProcessingJobLifecycle.create(f"job-{number}", public=True)
    job.mark_started(metadata={"pad": "x" * 12_000})
"""


@pytest.mark.parametrize("how", first_quick(["tcp", "unix", "tls"]))
async def test_long_messages__may_be_sent_but_not_received(
    how: str, sqlite_site: Site, tmp_path: Path, unix_path: str
) -> None:
    sqlite_site.worker(BIG)
    key, signed = certificate(tmp_path)
    tls_port = free_port()
    endpoint = f"ssl:port={tls_port}:interface=127.0.0.1:privateKey={key}:certKey={signed}"
    served = sqlite_site.serve("-u", unix_path, "-e", endpoint)

    def connected() -> Any:
        match how:
            case "tcp":
                return connect(f"{served.ws_url}/progress/ws")
            case "unix":
                return unix_connect(unix_path, "ws://localhost/progress/ws")
        trusted = ssl.create_default_context(cafile=signed)
        trusted.check_hostname = False
        return connect(f"wss://127.0.0.1:{tls_port}/progress/ws", ssl=trusted)

    async with connected() as socket:
        await socket.send('{"type": "subscribe", "feed": "all"}')
        assert len(await socket.recv()) > 200_000
        await socket.send('{"type": "ping"}')
        assert json.loads(await socket.recv())["type"] == "pong"
        await socket.send("x" * 70_000)
        await socket.wait_closed()
        assert socket.close_code == 1009
    async with connected() as socket:
        await socket.send(["x" * 40_000, "x" * 40_000])  # one message in two frames
        await socket.wait_closed()
        assert socket.close_code == 1009


def test_control_frame__of_any_length_does_not_fill_the_memory(serve: Served) -> None:
    serve.site.worker('from jobs.lifecycle import ProcessingJobLifecycle as L; L.create("job-123", public=True)')
    with socket.create_connection(("127.0.0.1", serve.port)) as client:
        client.sendall(
            f"GET /progress/ws HTTP/1.1\r\nHost: 127.0.0.1:{serve.port}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert b" 101 " in client.recv(4096)
        before = memory(serve)
        client.sendall(b"\x89\xff" + struct.pack("!Q", 2**40) + bytes(4))  # a ping that never ends
        assert client.recv(4096)[2:4] == struct.pack("!H", 1002)
        with contextlib.suppress(ConnectionError):  # it is cut off soon
            for _ in range(60):
                client.sendall(bytes(1024**2))
        assert memory(serve) - before < 25 * 1024**2

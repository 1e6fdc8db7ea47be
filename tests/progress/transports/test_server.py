"""What the frame writer relies on below Daphne, and that frames are never mixed, on a real socket."""

import asyncio
import contextlib
import datetime
import errno
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
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from daphne.ws_protocol import WebSocketProtocol
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed

from progress.protocol.frames import websocket_frame
from progress.transports.daphne.frame_writer import BUFFER_BYTES, FrameWriter
from progress.transports.daphne.server import ProgressServer, ServeCommandLine, _accept_one, _completed, _spacing
from progress.transports.daphne.websocket import CLIENT_STEPS_A_TURN, STEPS_A_TURN, FrameProtocol, Turn
from tests.installation import Served, Site
from tests.servers import free_port

LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536, 200_000]


@pytest.mark.parametrize("length", LENGTHS)
def test_websocket_frame__header_says_the_length(length: int) -> None:
    payload = b"x" * length
    frame = websocket_frame(payload)
    assert frame[0] == 0x81  # final, text
    assert not frame[1] & 0x80  # unmasked
    short = frame[1]
    if short < 126:
        header, said = 2, short
    elif short == 126:
        header, said = 4, int.from_bytes(frame[2:4])
    else:
        header, said = 10, int.from_bytes(frame[2:10])
    assert said == length
    assert frame[header:] == payload
    assert (short == 126) == (126 <= length < 65_536)


def test_endpoint__is_completed_where_it_says_nothing() -> None:
    assert _completed("tcp:port=1:interface=::1") == "tcp:port=1:interface=::1:backlog=4096"
    assert _completed("tcp6:port=1") == "tcp6:port=1:backlog=4096"
    assert _completed("tcp:port=1:backlog=7") == "tcp:port=1:backlog=7"
    assert _completed("unix:/run/site.sock") == "unix:/run/site.sock:backlog=4096:mode=660"
    assert _completed("unix:/run/site.sock:mode=600") == "unix:/run/site.sock:mode=600:backlog=4096"
    assert _completed("ssl:port=1:privateKey=key.pem") == "ssl:port=1:privateKey=key.pem:backlog=4096"
    assert _completed("fd:fileno=3") == "fd:fileno=3"  # whoever opened it chose


def test_command_line__every_flag_of_daphne_is_there() -> None:
    from daphne.cli import CommandLineInterface

    def flags(line: Any) -> set[str]:
        return {flag for action in line.parser._actions for flag in action.option_strings}

    assert flags(ServeCommandLine()) == flags(CommandLineInterface())


class Descriptor:
    """A connected transport, as far as the writer sees it, whose socket does as it is told."""

    dataBuffer, offset = b"", 0  # noqa: N815  (Twisted's names)

    def __init__(self) -> None:
        self.socket = self.transport = self
        self.is_held = False
        self.fails: OSError | None = None
        self.sent = self.waiting = b""
        self.is_aborted = False

    def send(self, data: bytes) -> int:
        if self.fails is not None:
            raise self.fails
        self.sent += data
        return len(data)

    def write(self, data: bytes) -> None:
        self.waiting += data

    @property
    def _tempDataLen(self) -> int:  # noqa: N802
        return len(self.waiting)

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: N802
        assert not streaming
        producer.resumeProducing()

    def unregisterProducer(self) -> None:  # noqa: N802
        pass

    FULL = 1

    def hold(self, why: int) -> None:
        self.is_held = True

    def release(self, why: int) -> None:
        self.is_held = False

    def abortConnection(self) -> None:  # noqa: N802
        self.is_aborted = True


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS])
def test_writer__frame_waits_whole_where_the_kernel_has_no_room(code: int) -> None:
    descriptor = Descriptor()
    writer = FrameWriter(descriptor)  # type: ignore[arg-type]
    assert writer.write(b"one")
    descriptor.fails = OSError(code, os.strerror(code))
    assert writer.write(b"two")
    descriptor.fails = None
    assert writer.write(b"three")
    assert (descriptor.sent, descriptor.waiting) == (b"one", b"twothree")
    assert not descriptor.is_aborted
    assert not writer.write(b"x" * BUFFER_BYTES)


@pytest.mark.parametrize("code", [errno.EPIPE, errno.ECONNRESET, errno.ENOMEM, errno.EBADF])
def test_writer__nothing_follows_a_frame_that_failed(code: int) -> None:
    descriptor = Descriptor()
    writer = FrameWriter(descriptor)  # type: ignore[arg-type]
    assert writer.write(b"one")
    descriptor.fails = OSError(code, os.strerror(code))
    assert writer.write(b"two")
    descriptor.fails = None
    assert writer.write(b"three")
    writer.resumeProducing()
    assert writer.write(b"four")
    assert (descriptor.sent, descriptor.waiting) == (b"one", b"")
    assert descriptor.is_aborted


def test_writer__goes_on_as_often_as_the_buffer_is_empty() -> None:
    descriptor = Descriptor()
    writer = FrameWriter(descriptor)  # type: ignore[arg-type]
    emptied: list[bool] = []
    writer.on_empty = lambda: emptied.append(descriptor.is_held)
    for times in (1, 2):
        descriptor.fails = OSError(errno.EAGAIN, "no room")
        assert writer.write(b"x" * BUFFER_BYTES)
        assert not descriptor.is_held
        assert not writer.write(b"x")
        assert descriptor.is_held
        descriptor.fails, descriptor.waiting = None, b""
        writer.resumeProducing()
        assert emptied == [False] * times


@pytest.mark.parametrize("code", [1000, 1002, 4008])
def test_close__nothing_is_written_behind_it(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever closes: Autobahn does for what breaks the WebSocket protocol, and the consumer learns of it later."""
    monkeypatch.setattr(WebSocketProtocol, "sendCloseFrame", lambda *_: None)
    descriptor, protocol = Descriptor(), FrameProtocol()
    protocol.state, protocol.frame_writer = FrameProtocol.STATE_OPEN, FrameWriter(descriptor)  # type: ignore[arg-type]
    protocol.sendCloseFrame(code)
    assert protocol.frame_writer.write(b"late")
    protocol.frame_writer.resumeProducing()
    assert protocol.frame_writer.write(b"later")
    assert (descriptor.sent, descriptor.waiting) == (b"", b"")


def test_writer__lost_writes_nothing_and_lets_go_of_whom_it_told() -> None:
    descriptor = Descriptor()
    writer = FrameWriter(descriptor)  # type: ignore[arg-type]
    writer.on_empty = pytest.fail
    writer.stopProducing()
    assert writer.on_empty is None
    assert writer.write(b"late")
    assert (descriptor.sent, descriptor.waiting) == (b"", b"")


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


@pytest.mark.parametrize(
    ("clients", "spacing"), [(0, 0.02), (1, 0.02), (250, 0.02), (500, 0.01), (5000, 0.001)], ids=str
)
def test_spacing__many_goodbyes_take_the_whole_time_and_few_less(clients: int, spacing: float) -> None:
    assert _spacing(clients, seconds=5) == pytest.approx(spacing)


async def test_drain__request_under_way_may_end_within_the_time(settings: Any) -> None:
    settings.PROGRESS_DRAIN_SECONDS = 0.2
    server = ProgressServer(None, endpoints=["tcp:0"])
    page = asyncio.ensure_future(asyncio.sleep(0.05, "page"))
    endless = asyncio.ensure_future(asyncio.sleep(3600))
    over = asyncio.ensure_future(asyncio.sleep(0))
    running = {"page": page, "endless": endless, "over": over}
    server.connections = {name: {"application_instance": task} for name, task in running.items()} | {"idle": {}}
    await server.kill_all_applications().asFuture(asyncio.get_running_loop())
    assert await page == "page"
    assert endless.cancelled()


async def test_connection__is_forgotten_when_it_and_its_application_are_over() -> None:
    """Daphne would keep thousands for up to a second, and every collection would look through them."""
    server = ProgressServer(None, endpoints=["tcp:0"])
    ended, failed = asyncio.get_running_loop().create_future(), asyncio.get_running_loop().create_future()
    applications = {"well": ended, "ill": failed}
    server.connections = {"refused": {}} | {name: {"application_instance": each} for name, each in applications.items()}
    for name, application in applications.items():
        application.add_done_callback(partial(server._forget, name))
    for name in ("refused", "well", "ill", "well", "refused"):  # which Daphne may say twice
        server.protocol_disconnected(name)
    assert list(server.connections) == ["well", "ill"]
    ended.set_result(None)
    failed.set_exception(ZeroDivisionError("which is reported"))
    await asyncio.sleep(0)
    assert list(server.connections) == ["ill"]


async def test_page__is_forgotten_when_it_was_sent() -> None:
    """As a socket is: what a page's request holds is in a circle as well."""
    server = ProgressServer(lambda **_: asyncio.sleep(0), endpoints=["tcp:0"])
    server.connections = {"page": {}}
    server.create_application("page", {"type": "http"})
    server.protocol_disconnected("page")  # it was sent, and the application is about to return
    assert list(server.connections) == ["page"]
    await server.connections["page"]["application_instance"]
    await asyncio.sleep(0)
    assert not server.connections


async def test_connection__stays_while_its_client_does() -> None:
    server = ProgressServer(None, endpoints=["tcp:0"])
    ended = asyncio.get_running_loop().create_future()
    server.connections = {"open": {"application_instance": ended}}
    ended.set_result(None)
    server._forget("open", ended)
    assert list(server.connections) == ["open"]


def test_accept__is_of_one_in_a_turn() -> None:
    port = SimpleNamespace(numberAccepts=100)
    accepted: list[int] = []
    for _ in range(2):
        _accept_one(port, lambda: accepted.append(port.numberAccepts))
        port.numberAccepts += 20  # as Twisted does, where all were there
    assert accepted == [1, 1]


MANY = """
import json, sys
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle.create("job-123", public=True)
job.mark_started()
for step in range(int(sys.argv[1])):
    job.mark_progress(step % 100, stage=f"stage {step}", metadata={"pad": "x" * ((step * 977) % 15_000)})
job.mark_completed()
"""


async def test_frames__are_whole_for_a_reader_in_fits_and_starts_among_pongs(sqlite_site: Site) -> None:
    """A small receive buffer makes partial writes; pings make Autobahn write in between."""
    sqlite_site.worker('from jobs.lifecycle import ProcessingJobLifecycle as L; L.create("other", public=True)')
    served = sqlite_site.serve(PROGRESS_OUTBOX_BYTES="100000000", PROGRESS_SEND_SECONDS="60")
    narrow = socket.create_connection(("127.0.0.1", served.port))
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    async with connect(
        f"{served.ws_url}/progress/ws/other", sock=narrow, max_queue=1, ping_interval=None, max_size=None
    ) as reader:
        await asyncio.to_thread(sqlite_site.worker, MANY, "600")
        await reader.send('{"type": "subscribe", "job_id": "job-123", "since": {"epoch": "none", "seq": 0}}')
        epoch = None
        while epoch is None:
            frame = json.loads(await reader.recv())
            epoch = frame["epoch"] if frame["job_id"] == "job-123" else None
        since = {"epoch": epoch, "seq": 1}
        await reader.send(json.dumps({"type": "subscribe", "job_id": "job-123", "since": since}))
        seqs, pongs = [], []
        for _ in range(603):
            if len(seqs) % 10 == 0:
                pongs.append(await reader.ping())
            seqs.append(json.loads(await reader.recv())["seq"])  # a mixed frame would be no JSON, or no frame
        assert seqs == [*range(2, 604), 603]
        await asyncio.wait_for(asyncio.gather(*pongs), 10)


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


async def told(served: Served, clients: int) -> None:
    """Wait until so many clients were closed as too slow, which only the log tells."""
    await asyncio.to_thread(served.wait_for_log, "Closing a socket with 4008", clients)


async def read_to_the_end(reader: ClientConnection) -> int:
    """Read what was under way, each frame whole; return the close code."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            json.loads(await reader.recv())
    assert reader.close_code is not None
    return reader.close_code


async def test_slow_reader__learns_its_code_when_it_reads_again(sqlite_site: Site) -> None:
    sqlite_site.worker('from jobs.lifecycle import ProcessingJobLifecycle as L; L.create("job-123", public=True)')
    # Without a deadline, so that only the bound of the outbox can close it.
    served = sqlite_site.serve(PROGRESS_OUTBOX_BYTES="100000", PROGRESS_SEND_SECONDS="3600", DJANGO_LOG_LEVEL="DEBUG")
    narrow = socket.create_connection(("127.0.0.1", served.port))
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    async with connect(
        f"{served.ws_url}/progress/ws/job-123", sock=narrow, max_queue=1, ping_interval=None, max_size=None
    ) as reader:
        await asyncio.to_thread(sqlite_site.worker, EVENTS, "500")
        await told(served, 1)
        await asyncio.sleep(1.5)  # Autobahn's own patience is 1 s
        assert await read_to_the_end(reader) == 4008


async def test_unix_socket__slow_readers_are_bounded_and_told(sqlite_site: Site, unix_path: str) -> None:
    sqlite_site.worker('from jobs.lifecycle import ProcessingJobLifecycle as L; L.create("job-123", public=True)')
    served = sqlite_site.serve("-u", unix_path, DJANGO_LOG_LEVEL="DEBUG")
    address = "ws://localhost/progress/ws/job-123"
    readers = [await unix_connect(unix_path, address, max_queue=1, ping_interval=None) for _ in range(10)]
    before = memory(served)
    await asyncio.to_thread(sqlite_site.worker, EVENTS, "400")
    await told(served, 10)
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


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost that nobody has signed; return the paths of the key and of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    begins = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(begins).not_valid_after(begins + datetime.timedelta(days=1))
    paths = folder / "key.pem", folder / "certificate.pem"
    pem, secret = serialization.Encoding.PEM, serialization.NoEncryption()
    paths[0].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, secret))
    paths[1].write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    return paths


@pytest.mark.parametrize("how", ["tcp", "unix", "tls"])
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

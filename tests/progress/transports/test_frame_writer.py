"""The frame writer: ready-made frames go whole to the socket, or wait."""

import asyncio
import errno
import json
import os
import socket
from typing import Any

import pytest
from daphne.ws_protocol import WebSocketProtocol
from websockets.asyncio.client import connect

from progress.protocol.frames import websocket_frame
from progress.transports.daphne.frame_writer import BUFFER_BYTES, FrameWriter
from progress.transports.daphne.websocket import FrameProtocol
from tests.installation import Site

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

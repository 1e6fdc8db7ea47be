"""The frame writer: ready-made frames go whole to the socket, or wait."""

import asyncio
import errno
import json
import os
from types import SimpleNamespace
from typing import Any

import pytest
from daphne.ws_protocol import WebSocketProtocol

from progress.delivery.chunks import Chunk
from progress.protocol.frames import Frame
from progress.transports.daphne import ws_protocol
from progress.transports.daphne.frame_writer import BUFFER_BYTES, FrameWriter, websocket_frame, websocket_frames
from progress.transports.daphne.ws_protocol import FrameProtocol
from tests.installation import Site
from tests.progress.transports.narrow import narrow_reader

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


def test_websocket_frames__one_after_the_other():
    frames = [Frame("x" * length) for length in LENGTHS]
    assert websocket_frames(frames) == b"".join(websocket_frame(frame.payload) for frame in frames)


def a_chunk(text: str) -> Chunk:
    return Chunk([Frame(text)])


def framed(*texts: str) -> bytes:
    return b"".join(websocket_frame(text.encode()) for text in texts)


class Flow:
    """Who writes: what it is asked to do."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def pause_writing(self) -> None:
        self.asked.append("pause")

    def resume_writing(self) -> None:
        self.asked.append("resume")

    def refused(self) -> None:
        self.asked.append("refused")

    def lost(self) -> None:
        self.asked.append("lost")


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


@pytest.fixture
def descriptor() -> Descriptor:
    return Descriptor()


@pytest.fixture
def writer(descriptor: Descriptor) -> FrameWriter:
    writer = FrameWriter(descriptor)  # type: ignore[arg-type]
    writer.flow = Flow()
    return writer


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS])
def test_write__a_frame_waits_whole_where_the_kernel_has_no_room(descriptor, writer, code: int) -> None:
    writer.write(a_chunk("one"))
    descriptor.fails = OSError(code, os.strerror(code))
    writer.write(a_chunk("two"))
    descriptor.fails = None
    writer.write(a_chunk("three"))
    assert (descriptor.sent, descriptor.waiting) == (framed("one"), framed("two", "three"))
    assert not descriptor.is_aborted
    assert writer.is_writable
    writer.write(a_chunk("x" * BUFFER_BYTES))
    assert not writer.is_writable
    assert writer.flow.asked == ["pause"]


def test_write__the_rest_of_a_frame_of_which_the_kernel_takes_a_part(descriptor, writer, monkeypatch) -> None:
    writer._send = lambda data: 3
    writer.write(a_chunk("one"))
    writer.write(a_chunk("two"))
    assert descriptor.waiting == framed("one")[3:] + framed("two")


@pytest.mark.parametrize("code", [errno.EPIPE, errno.ECONNRESET, errno.ENOMEM, errno.EBADF])
def test_write__nothing_follows_a_frame_that_failed(descriptor, writer, code: int) -> None:
    writer.write(a_chunk("one"))
    descriptor.fails = OSError(code, os.strerror(code))
    writer.write(a_chunk("two"))
    descriptor.fails = None
    writer.write(a_chunk("three"))
    writer.resumeProducing()
    writer.write(a_chunk("four"))
    assert writer.is_writable
    assert (descriptor.sent, descriptor.waiting) == (framed("one"), b"")
    assert descriptor.is_aborted


def test_write__goes_on_as_often_as_the_buffer_is_empty(descriptor, writer) -> None:
    for times in (1, 2):
        descriptor.fails = OSError(errno.EAGAIN, "no room")
        writer.write(a_chunk("x" * (BUFFER_BYTES - 4)))
        assert (descriptor.is_held, writer.is_writable) == (False, True)
        writer.write(a_chunk(""))
        assert (descriptor.is_held, writer.is_writable) == (True, False)
        descriptor.fails, descriptor.waiting = None, b""
        writer.resumeProducing()
        assert (descriptor.is_held, writer.is_writable) == (False, True)
        assert writer.flow.asked == ["pause", "resume"] * times


def test_wait__what_autobahn_sends_can_fill_the_socket_as_well(descriptor, writer) -> None:
    descriptor.waiting = b"x" * (BUFFER_BYTES + 1)
    writer.use_buffer()
    assert writer.flow.asked == ["pause"]
    assert descriptor.is_held


@pytest.mark.parametrize("code", [1000, 1002, 4008])
def test_close__nothing_is_written_behind_it(descriptor, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever closes: Autobahn does for what breaks the WebSocket protocol, and the consumer learns of it later."""
    monkeypatch.setattr(WebSocketProtocol, "sendCloseFrame", lambda *_: None)
    protocol = FrameProtocol()
    protocol.state, protocol.frame_writer = FrameProtocol.STATE_OPEN, FrameWriter(descriptor)
    protocol.sendCloseFrame(code)
    protocol.frame_writer.write(a_chunk("late"))
    protocol.frame_writer.resumeProducing()
    protocol.frame_writer.write(a_chunk("later"))
    assert protocol.frame_writer.is_writable
    assert (descriptor.sent, descriptor.waiting) == (b"", b"")


@pytest.mark.parametrize("end", ["stopProducing", "stop"])
def test_stop__writes_nothing_and_lets_go_of_who_writes(descriptor, writer, end: str) -> None:
    descriptor.waiting = b"x" * (BUFFER_BYTES + 1)
    writer.use_buffer()
    getattr(writer, end)()
    assert writer.flow is None
    writer.write(a_chunk("late"))
    descriptor.waiting = b""
    writer.resumeProducing()
    writer.write(a_chunk("later"))
    assert (descriptor.sent, descriptor.waiting) == (b"", b"")


@pytest.mark.parametrize("waiting", [0, 1])
async def test_close__of_a_client_that_then_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch, waiting: int):
    """Autobahn waits for the buffer of a client that has said goodbye, for as long as its kernel lives."""
    later: list[tuple[float, Any]] = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda *timer: later.append(timer))
    monkeypatch.setattr(WebSocketProtocol, "dropConnection", lambda *_, **__: None)
    protocol, descriptor = FrameProtocol(), Descriptor()
    protocol.transport, protocol.wasClean = descriptor, True
    protocol.frame_writer = SimpleNamespace(waiting=waiting)  # type: ignore[assignment]
    protocol.dropConnection(abort=False)
    assert later == [(ws_protocol.PATIENCE_SECONDS, descriptor.abortConnection)] * waiting


MANY = """
import json, sys
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle.create("job-123", public=True)
job.mark_started()
for step in range(int(sys.argv[1])):
    job.mark_progress(step % 100, stage=f"stage {step}", metadata={"pad": "x" * ((step * 977) % 15_000)})
job.mark_completed()
"""


@pytest.mark.slow
async def test_frames__are_whole_for_a_reader_in_fits_and_starts_among_pongs(sqlite_site: Site) -> None:
    """A small receive buffer makes partial writes; pings make Autobahn write in between."""
    sqlite_site.worker('from jobs.lifecycle import ProcessingJobLifecycle as L; L.create("other", public=True)')
    served = sqlite_site.serve(PROGRESS_OUTBOX_BYTES="100000000", PROGRESS_SEND_SECONDS="60")
    async with narrow_reader(served, "other") as reader:
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

"""The event writer: events go whole and in order to the socket, or wait behind what waits."""

import asyncio
import errno
import os
from typing import Any

import pytest

from progress.delivery.chunks import Chunk
from progress.protocol.codes import CloseCode
from progress.protocol.frames import Frame
from progress.transports.daphne import event_writer
from progress.transports.daphne.event_writer import EventWriter
from progress.transports.sse.answer import LAST_ON_CONNECTION
from progress.transports.sse.encoding import OneJob
from tests.progress.transports.test_frame_writer import Descriptor, Flow

START = {"type": "http.response.start", "status": 200, "headers": [LAST_ON_CONNECTION]}


class Request:
    """A request of HTTP/1.1, as far as the writer sees it."""

    chunked = 1

    def __init__(self) -> None:
        self.channel: Any = self
        self.persistent = 1
        self.transport = Line()
        self.messages: list[dict[str, Any]] = []
        self.producer: Any = None

    def handle_reply(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self.transport.waiting += message.get("body", b"")

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: N802
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:  # noqa: N802
        self.producer = None


class Line(Descriptor):
    """Its transport."""

    disconnected = 0

    def setsockopt(self, *_: int) -> None:
        pass


@pytest.fixture
def request_() -> Request:
    return Request()


@pytest.fixture
def writer(request_: Request) -> EventWriter:
    writer = EventWriter(request_, OneJob())
    writer.flow = Flow()
    writer.begin(START, b"retry: 1\n\n")
    return writer


def a_chunk(text: str) -> Chunk:
    return Chunk([Frame(text)])


def chunked(text: str) -> bytes:
    return OneJob().events(a_chunk(text), chunked=True)


def flush(request: Request) -> None:
    """Do as the reactor does once the socket takes all that waits."""
    request.transport.sent += request.transport.waiting
    request.transport.waiting = b""


def test_write__nothing_overtakes_the_headers(request_, writer) -> None:
    writer.write(a_chunk("one"))
    assert request_.transport.sent == b""
    flush(request_)
    writer.write(a_chunk("two"))
    assert request_.transport.sent == b"retry: 1\n\n" + chunked("one") + chunked("two")


def test_write__without_chunks_where_twisted_makes_none(request_) -> None:
    request_.chunked = 0
    writer = EventWriter(request_, OneJob())
    writer.begin(START, b"")
    writer.write(a_chunk("one"))
    assert request_.transport.sent == OneJob().events(a_chunk("one"), chunked=False)


def test_write__the_rest_of_what_the_kernel_takes_a_part_of(request_, writer) -> None:
    flush(request_)
    writer._send = lambda data: 3
    writer.write(a_chunk("one"))
    writer.write(a_chunk("two"))
    assert request_.transport.waiting == chunked("one")[3:] + chunked("two")


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS])
def test_write__waits_whole_where_the_kernel_has_no_room(request_, writer, code: int) -> None:
    flush(request_)
    request_.transport.fails = OSError(code, os.strerror(code))
    writer.write(a_chunk("one"))
    request_.transport.fails = None
    writer.write(a_chunk("two"))
    assert request_.transport.waiting == chunked("one") + chunked("two")


@pytest.mark.parametrize("code", [errno.EPIPE, errno.ECONNRESET, errno.EBADF])
def test_write__nothing_follows_what_failed(request_, writer, code: int) -> None:
    flush(request_)
    request_.transport.fails = OSError(code, os.strerror(code))
    writer.write(a_chunk("one"))
    request_.transport.fails = None
    writer.write(a_chunk("two"))
    assert request_.transport.sent == b"retry: 1\n\n"
    assert request_.transport.waiting == b""
    assert request_.transport.is_aborted


def test_full__is_told_once_and_again_when_it_is_not(request_, writer) -> None:
    for _ in range(2):
        request_.producer.pauseProducing()
    assert not writer.is_writable
    request_.producer.resumeProducing()
    assert writer.is_writable
    assert writer.flow.asked == ["pause", "resume"]


async def test_close__completes_the_answer_and_the_connection_is_not_used_again(request_, writer, monkeypatch) -> None:
    monkeypatch.setattr(event_writer, "PATIENCE_SECONDS", 0)
    writer.close(CloseCode.GOING_AWAY)
    assert request_.messages[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert request_.persistent == 0
    assert request_.producer is None
    writer.close(CloseCode.GOING_AWAY)
    assert len(request_.messages) == 3
    writer.write(a_chunk("late"))
    assert request_.transport.waiting == b"retry: 1\n\n"
    await asyncio.sleep(0.01)
    assert request_.transport.is_aborted, "who reads nothing more does not keep it"


async def test_close__a_refusal_leaves_the_connection(request_, monkeypatch) -> None:
    monkeypatch.setattr(event_writer, "PATIENCE_SECONDS", 0)
    writer = EventWriter(request_, OneJob())
    writer.begin({**START, "headers": []}, b"no")
    writer.close(CloseCode.JOB_NOT_FOUND)
    await asyncio.sleep(0.01)
    assert request_.persistent == 1
    assert not request_.transport.is_aborted


def test_abort__drops_the_connection(request_, writer) -> None:
    writer.abort(CloseCode.TOO_SLOW)
    assert request_.transport.is_aborted
    assert writer.is_writable, "it drops what it is given"


def test_lost__calls_nothing_more(request_, writer) -> None:
    flow = writer.flow
    request_.producer.stopProducing()
    writer.resumeProducing()
    writer.pauseProducing()
    writer.close(CloseCode.GOING_AWAY)
    assert flow.asked == []
    assert len(request_.messages) == 2


def test_begin__of_a_client_that_is_gone_sends_nothing(request_) -> None:
    request_.transport.disconnected = 1
    writer = EventWriter(request_, OneJob())
    writer.begin(START, b"")
    writer.write(a_chunk("one"))
    writer.close(CloseCode.RESYNC)
    assert request_.messages == []
    assert request_.transport.sent == b""

"""A connection whose server has a frame writer."""

import asyncio
from typing import Any

import pytest

from progress.delivery.connection import Connection
from progress.protocol.codes import CloseCode
from tests.progress.delivery.fake_socket import TWENTY, a_frame, send_all, timers
from tests.progress.watching import payloads


class FakeWriter:
    """A frame writer that takes frames at once, and ``room`` more writes until it is full; None for any number."""

    def __init__(self, room: int | None = None) -> None:
        self.on_empty: Any = None
        self.written: list[str] = []
        self.room = room

    def write(self, frames: bytes) -> bool:
        self.written += [payload.decode() for payload in payloads(frames)]
        if self.room is not None:
            self.room -= 1
        return self.room is None or self.room > 0

    def empty(self, room: int | None = None) -> None:
        self.room = room
        self.on_empty()


@pytest.fixture
async def writer():
    return FakeWriter()


@pytest.fixture
async def written(socket, writer):
    """A connection with the frame writer."""
    connection = Connection(socket.send, writer)
    yield connection
    connection.lost()


# With a frame writer


async def test_writer__all_is_written_at_once_in_one_piece(socket, writer, written):
    send_all(written, TWENTY)
    written.send(a_frame("live"))
    assert writer.written == [*TWENTY, "live"]
    assert socket.taken == []


async def test_writer__what_lasts_is_all_written_though_the_outbox_is_in_use(writer, written):
    writer.room = 1
    send_all(written, ["1"])
    send_all(written, ["superseded"])
    send_all(written, TWENTY, lasting=True)
    send_all(written, ["superseded as well"])
    send_all(written, ["live"])
    assert writer.written == ["1"]
    writer.empty(room=5)
    assert writer.written == ["1", *TWENTY[:5]]
    writer.empty()
    assert writer.written == ["1", *TWENTY, "live"]
    send_all(written, ["later"])
    assert writer.written[-1] == "later"


async def test_writer__ready_when_all_is_written(writer, written):
    writer.room = 1
    written.send(a_frame("1"))
    waiting = asyncio.ensure_future(written.ready())
    await asyncio.sleep(0)
    written.send(a_frame("2"))
    writer.empty(room=1)
    await asyncio.sleep(0)
    assert not waiting.done()
    writer.empty()
    await asyncio.wait_for(waiting, 10)
    assert writer.written == ["1", "2"]


@pytest.mark.parametrize("waits", [False, True])
async def test_writer__stuck_for_too_long(settings, socket, writer, written, waits):
    settings.PROGRESS_SEND_SECONDS = 0.01
    writer.room = 1
    written.send(a_frame("1"))
    if waits:
        written.send(a_frame("2"))
    await socket.until(CloseCode.TOO_SLOW)
    assert writer.written == ["1"]


async def test_writer__each_message_has_the_time(settings, socket, writer, written):
    settings.PROGRESS_SEND_SECONDS = 0.5
    writer.room = 1
    for text in "12345678":
        written.send(a_frame(text))
    for _ in range(5):
        await asyncio.sleep(0.15)
        writer.empty(room=1)
    assert written.is_accepting
    await socket.until(CloseCode.TOO_SLOW)
    assert writer.written == list("123456")


async def test_writer__more_than_may_wait_is_too_slow(settings, socket, writer):
    settings.PROGRESS_OUTBOX_BYTES = 10
    connection = Connection(socket.send, writer)
    writer.room = 1
    for text in ("stuck", "12345678", "1", "2"):
        connection.send(a_frame(text))
    await socket.until(CloseCode.TOO_SLOW)
    assert writer.written == ["stuck"]
    connection.lost()


@pytest.mark.parametrize("code", [CloseCode.GOING_AWAY, CloseCode.TOO_SLOW])
async def test_writer__nothing_is_written_after_a_close(socket, writer, written, code):
    written.close(code)
    written.send(a_frame("1"))
    await socket.until(code)
    written.send(a_frame("2"))
    assert writer.written == []


async def test_writer__closed_after_what_waits(socket, writer, written):
    writer.room = 1
    for text in "123":
        written.send(a_frame(text))
    written.close(CloseCode.GOING_AWAY)
    written.send(a_frame("4"))
    writer.empty(room=1)
    await asyncio.sleep(0.01)
    assert (writer.written, socket.taken) == (["1", "2"], [])
    writer.empty(room=1)
    writer.empty()
    await socket.until(CloseCode.GOING_AWAY)
    assert writer.written == ["1", "2", "3"]


async def test_writer__to_be_closed_and_stuck(settings, socket, writer, written):
    settings.PROGRESS_SEND_SECONDS = 0.01
    writer.room = 1
    written.send(a_frame("1"))
    written.send(a_frame("2"))
    written.close(CloseCode.GOING_AWAY)
    await socket.until(CloseCode.GOING_AWAY)
    assert writer.written == ["1"]


async def test_writer__lost_detaches_it_and_leaves_no_timer(settings, socket, writer, written):
    settings.PROGRESS_SEND_SECONDS = 3600
    writer.room = 1
    written.send(a_frame("1"))
    written.send(a_frame("2"))
    assert len(timers()) == 1
    written.lost()
    assert writer.on_empty is None
    assert timers() == []
    written.send(a_frame("3"))
    assert (writer.written, socket.taken) == (["1"], [])


async def test_writer__the_socket_is_lost_while_it_is_written_to(settings, socket, writer, written):
    settings.PROGRESS_SEND_SECONDS = 3600

    def write(frames: bytes) -> bool:
        written.lost()
        return False

    writer.write = write
    written = Connection(socket.send, writer)
    written.send(a_frame("1"))
    written.send(a_frame("2"))
    assert not written.is_accepting
    assert timers() == []

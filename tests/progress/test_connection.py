"""A connection, against a socket that takes what the test lets it take."""

import asyncio
from typing import Any

import pytest

from progress.codes import CloseCode
from progress.connection import Connection
from progress.protocol import Frame, event_frame
from tests.progress.watching import eventually


class FakeSocket:
    """Takes messages at once, or while ``open`` is set; ``error`` is raised instead."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = 0
        self.error: Exception | None = None
        self.closes_at_once = self.fails_to_close = True

    async def send(self, message: dict[str, Any]) -> None:
        closing = message["type"] == "websocket.close"
        if not self.open.is_set() and not (closing and self.closes_at_once):
            self.waiting += 1
            try:
                await self.open.wait()
            finally:
                self.waiting -= 1
        if self.error is not None and (self.fails_to_close or not closing):
            raise self.error
        self.taken.append(message["code"] if closing else message["text"])

    async def until(self, *taken: Any) -> None:
        await eventually(lambda: self.taken == list(taken))


@pytest.fixture
async def socket():
    return FakeSocket()


@pytest.fixture
async def connection(socket):
    connection = Connection(socket.send)
    yield connection
    connection.lost()


def a_frame(text: str, kind: str = "status", job: str = "a") -> Frame:
    return event_frame(job, 1, kind, text)


async def test_send__at_once(socket, connection):
    before = asyncio.all_tasks()
    connection.send(a_frame("1"))
    connection.send(a_frame("2"))
    assert socket.taken == ["1", "2"]
    assert asyncio.all_tasks() == before


async def test_send__waits_in_order_while_the_socket_is_full(socket, connection):
    socket.open.clear()
    for text in "1234":
        connection.send(a_frame(text))
    assert socket.taken == []
    socket.open.set()
    await socket.until("1", "2", "3", "4")


async def test_send__a_superseded_tick_is_not_sent_to_a_slow_watcher(socket, connection):
    socket.open.clear()
    for text, kind, job in [
        ("stuck", "tick", "a"),
        ("2", "tick", "a"),
        ("other", "tick", "b"),
        ("3", "tick", "a"),
        ("line", "log", "a"),
        ("4", "tick", "a"),
    ]:
        connection.send(a_frame(text, kind, job))
    socket.open.set()
    await socket.until("stuck", "other", "line", "4")


async def test_send__at_once_again_after_it_was_full(socket, connection):
    socket.open.clear()
    connection.send(a_frame("1"))
    connection.send(a_frame("2"))
    socket.open.set()
    await socket.until("1", "2")
    connection.send(a_frame("3"))
    assert socket.taken == ["1", "2", "3"]


async def test_send__too_much_waits(settings, socket):
    settings.PROGRESS_OUTBOX_BYTES = 10
    connection = Connection(socket.send)
    socket.open.clear()
    for text in ("stuck", "12345", "67890", "x", "y"):
        connection.send(a_frame(text))
    await socket.until(CloseCode.TOO_SLOW)
    assert not connection.is_accepting
    connection.send(a_frame("later"))
    socket.open.set()
    await asyncio.sleep(0)
    assert socket.taken == [CloseCode.TOO_SLOW]
    connection.lost()


async def test_send__stuck_for_too_long(settings, socket, connection):
    settings.PROGRESS_SEND_SECONDS = 0.01
    socket.open.clear()
    connection.send(a_frame("stuck"))
    connection.send(a_frame("waits"))
    await socket.until(CloseCode.TOO_SLOW)


async def test_send__stuck_for_too_long_while_it_is_to_be_closed(settings, socket, connection):
    settings.PROGRESS_SEND_SECONDS = 0.01
    socket.open.clear()
    connection.send(a_frame("stuck"))
    connection.close(CloseCode.GOING_AWAY)
    await eventually(lambda: socket.taken)
    assert len(socket.taken) == 1, "closed once, with whatever code"
    assert socket.taken[0] >= 4000


async def test_close__after_what_waits(socket, connection):
    socket.open.clear()
    connection.send(a_frame("1"))
    connection.send(a_frame("2"))
    connection.close(CloseCode.TOKEN_EXPIRED)
    connection.send(a_frame("3"))
    socket.open.set()
    await socket.until("1", "2", CloseCode.TOKEN_EXPIRED)


async def test_close__twice_is_once(socket, connection):
    connection.close(CloseCode.JOB_NOT_FOUND)
    connection.close(CloseCode.GOING_AWAY)
    assert socket.taken == [CloseCode.JOB_NOT_FOUND]


async def test_close__nothing_follows(socket, connection):
    connection.close(CloseCode.JOB_NOT_FOUND)
    connection.send(a_frame("1"))
    assert socket.taken == [CloseCode.JOB_NOT_FOUND]
    assert not connection.is_accepting


@pytest.mark.parametrize("full", [False, True])
async def test_send__a_socket_that_fails_harms_nobody(socket, connection, full):
    socket.error = RuntimeError("gone")
    if full:
        socket.open.clear()
    connection.send(a_frame("1"))
    connection.send(a_frame("2"))
    socket.open.set()
    await eventually(lambda: not connection.is_accepting)
    socket.error = None
    connection.send(a_frame("3"))
    connection.close(CloseCode.GOING_AWAY)
    assert socket.taken == []


@pytest.mark.parametrize("full", [False, True])
async def test_send__a_message_that_is_refused_ends_the_socket(socket, connection, full):
    socket.error, socket.fails_to_close = ValueError("too large for this server"), False
    if full:
        socket.open.clear()
    connection.send(a_frame("large"))
    connection.send(a_frame("waits"))
    socket.open.set()
    await socket.until(CloseCode.RESYNC)
    connection.send(a_frame("later"))
    assert socket.taken == [CloseCode.RESYNC]


async def test_lost__nothing_is_sent_and_no_task_stays(socket, connection):
    before = asyncio.all_tasks()
    socket.open.clear()
    connection.send(a_frame("1"))
    connection.send(a_frame("2"))
    await asyncio.sleep(0)
    connection.lost()
    await eventually(lambda: asyncio.all_tasks() == before)
    assert socket.waiting == 0, "the send that was stuck has been cancelled"
    socket.open.set()
    connection.send(a_frame("3"))
    assert socket.taken == []


async def test_lost__before_the_waiting_began(socket, connection):
    socket.open.clear()
    connection.send(a_frame("1"))
    connection.lost()
    socket.open.set()
    await asyncio.sleep(0)
    assert socket.taken == []


async def test_send__one_that_waits_delays_no_other(socket, connection):
    socket.open.clear()
    connection.send(a_frame("1"))
    other = FakeSocket()
    second = Connection(other.send)
    second.send(a_frame("1"))
    assert other.taken == ["1"]
    second.lost()

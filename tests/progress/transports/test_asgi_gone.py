"""A connection over ASGI that is gone: what is left of it, whoever ended it."""

import asyncio
from typing import Any

import pytest

from progress.delivery.connection import Connection
from progress.protocol.codes import CloseCode
from progress.transports.asgi import AsgiSender
from tests.progress.senders import a_frame
from tests.progress.transports.fake_socket import IS_EAGER, fill
from tests.progress.watching import eventually, timers

# A socket that is gone


async def test_lost__nothing_is_sent_and_no_task_stays(socket, connection):
    before = asyncio.all_tasks()
    await fill(socket, connection)
    connection.send(a_frame("2"))
    connection.lost()
    await eventually(lambda: asyncio.all_tasks() == before)
    assert socket.waiting == 0, "the send that was stuck has been cancelled"
    socket.open.set()
    connection.send(a_frame("3"))
    connection.close(CloseCode.GOING_AWAY)
    await asyncio.sleep(0)
    assert socket.taken == []


async def test_lost__before_the_sending_began(socket, connection):
    socket.open.clear()
    connection.send(a_frame("1"))
    connection.lost()
    socket.open.set()
    await asyncio.sleep(0)
    assert socket.taken == []


@pytest.mark.parametrize("how", ["swallows", "raises"])
async def test_lost__a_send_that_does_not_end_when_cancelled(socket, connection, how):
    before = asyncio.all_tasks()
    socket.swallows_cancellation = True
    socket.refused = {"stuck"} if how == "raises" else set()
    await fill(socket, connection)
    connection.send(a_frame("2"))
    connection.lost()
    await eventually(lambda: asyncio.all_tasks() == before)
    assert socket.taken == ([] if how == "raises" else ["stuck"])


async def test_lost__no_timer_stays(settings, socket, connection):
    settings.PROGRESS_SEND_SECONDS = 3600
    await fill(socket, connection)
    connection.send(a_frame("2"))
    connection.lost()
    connection.send(a_frame("3"))
    connection.close(CloseCode.TOO_SLOW)
    await connection.ready()
    assert timers() == []


@pytest.mark.parametrize("is_closing", [False, True])
async def test_cancelled__with_all_tasks_is_as_lost(socket, connection, is_closing):
    """So ends ``asyncio.run``, which waits for each task that it has cancelled."""
    before = asyncio.all_tasks()
    await fill(socket, connection)
    connection.send(a_frame("waits"))
    if is_closing:
        connection.close(CloseCode.GOING_AWAY)
    (sending,) = asyncio.all_tasks() - before
    sending.cancel()
    connection.send(a_frame("waits as well"))
    await asyncio.wait_for(asyncio.wait([sending]), 10)
    assert sending.cancelled()
    assert timers() == []
    connection.send(a_frame("later"))
    await asyncio.sleep(0)
    assert socket.taken == []


async def test_cancelled__while_it_has_nothing_to_send(socket, connection):
    before = asyncio.all_tasks()
    connection.send(a_frame("1"))
    await socket.until("1")
    for sending in asyncio.all_tasks() - before:
        sending.cancel()
    connection.send(a_frame("2"))
    await eventually(lambda: asyncio.all_tasks() == before)
    assert connection.is_accepting == IS_EAGER


async def test_cancelled__before_its_first_step_is_begun_again(socket, connection):
    before = asyncio.all_tasks()
    connection.send(a_frame("1"))
    for sending in asyncio.all_tasks() - before:
        sending.cancel()
    await asyncio.sleep(0)
    connection.send(a_frame("2"))
    await socket.until("1", "2")


# What `send` itself does to its connection


async def test_lost__by_the_send_itself_leaves_no_task(connection):
    before = asyncio.all_tasks()

    async def send(_: dict[str, Any]) -> None:
        connection.lost()
        await asyncio.Event().wait()

    connection = Connection(AsgiSender(send))
    connection.send(a_frame("1"))
    await eventually(lambda: asyncio.all_tasks() == before)


@pytest.mark.parametrize("text", "123")
async def test_full__by_the_send_itself_is_closed_with_its_code(settings, text):
    settings.PROGRESS_OUTBOX_BYTES = 100
    taken: list[Any] = []

    async def send(message: dict[str, Any]) -> None:
        if message.get("text") == text:
            for _ in range(20):
                connection.send(a_frame("x" * 20))
            return
        await asyncio.sleep(0)
        taken.append(message.get("text") or message.get("code"))

    connection = Connection(AsgiSender(send))
    for each in "123":
        connection.send(a_frame(each))
    await eventually(lambda: CloseCode.TOO_SLOW in taken)
    assert taken == [*"123"[: "123".index(text)], CloseCode.TOO_SLOW]
    connection.lost()

"""How a connection over ASGI ends: stuck, closed, refused, gone."""

import asyncio

import pytest

from progress.protocol.codes import CloseCode
from tests.progress.senders import a_frame
from tests.progress.transports.fake_socket import IS_EAGER, fill
from tests.progress.watching import eventually

# A socket that is stuck


async def test_stuck__for_too_long(settings, socket, connection):
    settings.PROGRESS_SEND_SECONDS = 0.01
    await fill(socket, connection)
    connection.send(a_frame("waits"))
    await socket.until(CloseCode.TOO_SLOW)
    assert not connection.is_accepting
    assert socket.waiting == 0


async def test_stuck__while_the_client_is_waited_for(settings, socket, connection):
    settings.PROGRESS_SEND_SECONDS = 0.01
    socket.open.clear()
    connection.send(a_frame("stuck"))
    await connection.ready()
    await socket.until(CloseCode.TOO_SLOW)


@pytest.mark.parametrize("full", [False, True])
async def test_stuck__while_it_is_to_be_closed(settings, socket, connection, full):
    settings.PROGRESS_SEND_SECONDS = 0.01
    if full:
        await fill(socket, connection)
    socket.open.clear()
    connection.send(a_frame("waits"))
    connection.close(CloseCode.GOING_AWAY)
    await socket.until(CloseCode.GOING_AWAY)


async def test_stuck__the_second_of_those_that_wait_behind_a_close(settings, socket, connection):
    settings.PROGRESS_SEND_SECONDS = 0.01
    await fill(socket, connection)
    connection.send(a_frame("waits"))
    connection.close(CloseCode.GOING_AWAY)
    socket.take_one()
    await socket.until("stuck", CloseCode.GOING_AWAY)


async def test_stuck__each_message_has_the_time(settings, socket, connection):
    settings.PROGRESS_SEND_SECONDS = 0.5
    await fill(socket, connection)
    for text in "12345":
        connection.send(a_frame(text))
    for number in range(5):
        await asyncio.sleep(0.15)
        socket.take_one()
        await eventually(lambda: len(socket.taken) == number + 1 and socket.waiting)  # noqa: B023
    assert connection.is_accepting
    await socket.until("stuck", *"1234", CloseCode.TOO_SLOW)


async def test_stuck__a_close_may_take_its_time(settings, socket, connection):
    settings.PROGRESS_SEND_SECONDS = 0.01
    socket.closes_at_once = False
    socket.open.clear()
    connection.close(CloseCode.GOING_AWAY)
    await asyncio.sleep(0.05)
    socket.open.set()
    await socket.until(CloseCode.GOING_AWAY)


async def test_stuck__a_close_that_is_stuck_as_well_ends_with_the_socket(settings, socket, connection):
    settings.PROGRESS_SEND_SECONDS = 0.01
    before = asyncio.all_tasks()
    socket.closes_at_once = False
    await fill(socket, connection)
    connection.send(a_frame("waits"))
    await eventually(lambda: not connection.is_accepting)
    await eventually(lambda: socket.waiting == 1)
    connection.lost()
    await eventually(lambda: asyncio.all_tasks() == before)
    assert socket.taken == []


async def test_stuck__a_send_that_does_not_let_itself_be_cancelled(settings, socket, connection):
    settings.PROGRESS_SEND_SECONDS = 0.01
    socket.swallows_cancellation = True
    await fill(socket, connection)
    connection.send(a_frame("waits"))
    await socket.until("stuck", CloseCode.TOO_SLOW)  # nothing else, and in this order


# Closing


@pytest.mark.parametrize("code", CloseCode)
async def test_close__of_an_idle_socket(socket, connection, code):
    connection.close(code)
    connection.send(a_frame("later"))
    assert not connection.is_accepting
    await socket.until(code)
    assert IS_EAGER or socket.taken == [code]


async def test_close__after_what_waits(socket, connection):
    await fill(socket, connection, "1")
    connection.send(a_frame("2"))
    connection.close(CloseCode.TOKEN_EXPIRED)
    connection.send(a_frame("3"))
    socket.open.set()
    await socket.until("1", "2", CloseCode.TOKEN_EXPIRED)


@pytest.mark.parametrize("turns", [0, 1])
async def test_close__after_what_has_just_been_sent(socket, connection, turns):
    socket.turns = turns
    connection.send(a_frame("error"))
    connection.close(CloseCode.JOB_NOT_FOUND)
    await socket.until("error", CloseCode.JOB_NOT_FOUND)


async def test_close__as_too_slow_though_nothing_is_stuck(socket, connection):
    connection.send(a_frame("1"))
    await socket.until("1")
    connection.send(a_frame("2"))
    connection.close(CloseCode.TOO_SLOW)
    await socket.until("1", "2", CloseCode.TOO_SLOW)


@pytest.mark.parametrize("full", [False, True])
async def test_close__twice_is_once(socket, connection, full):
    if full:
        await fill(socket, connection)
    connection.close(CloseCode.JOB_NOT_FOUND)
    connection.close(CloseCode.GOING_AWAY)
    connection.close(CloseCode.TOO_SLOW)
    socket.open.set()
    await socket.until(*["stuck"] * full, CloseCode.JOB_NOT_FOUND)
    await asyncio.sleep(0.01)
    assert len(socket.taken) == 1 + full


# A message that is refused


@pytest.mark.parametrize("full", [False, True])
async def test_refused__the_socket_is_closed_and_nothing_else_is_sent(socket, connection, full):
    socket.refused = {"2"}
    if full:
        await fill(socket, connection, "1")
    else:
        connection.send(a_frame("1"))
    for text in "234":
        connection.send(a_frame(text))
    socket.open.set()
    await socket.until("1", CloseCode.RESYNC)
    assert not connection.is_accepting
    connection.send(a_frame("later"))
    connection.close(CloseCode.GOING_AWAY)
    await asyncio.sleep(0.01)
    assert socket.taken == ["1", CloseCode.RESYNC]


async def test_refused__while_a_close_waits(socket, connection):
    socket.refused = {"2"}
    await fill(socket, connection, "1")
    for text in "23":
        connection.send(a_frame(text))
    connection.close(CloseCode.TOKEN_EXPIRED)
    socket.open.set()
    await socket.until("1", CloseCode.TOKEN_EXPIRED)


async def test_refused__a_socket_that_refuses_all_harms_nobody(socket, connection):
    before = asyncio.all_tasks()
    socket.refused = {"1", CloseCode.RESYNC}
    connection.send(a_frame("1"))
    connection.send(a_frame("2"))
    await eventually(lambda: not connection.is_accepting)
    socket.refused = set()
    connection.send(a_frame("3"))
    connection.close(CloseCode.GOING_AWAY)
    await eventually(lambda: asyncio.all_tasks() == before)
    assert socket.taken == []

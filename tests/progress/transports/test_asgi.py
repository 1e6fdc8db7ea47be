"""A connection over ASGI, against a socket that takes what the test lets it take."""

import asyncio
from typing import Any

import pytest

from progress.delivery.connection import Connection
from progress.protocol.codes import CloseCode
from progress.transports.asgi import AsgiSender
from tests.progress.senders import TWENTY, a_frame, send_all
from tests.progress.transports.fake_socket import IS_EAGER, FakeSocket, fill
from tests.progress.watching import eventually

# A socket that takes what comes


async def test_send__at_once_where_python_can_begin_a_task_so(socket, connection):
    connection.send(a_frame("1"))
    connection.send(a_frame("2"))
    assert socket.taken == (["1", "2"] if IS_EAGER else [])
    await asyncio.sleep(0)
    assert socket.taken == ["1", "2"]


async def test_send__an_idle_socket_has_no_task_where_one_can_begin_at_once(socket, connection):
    before = asyncio.all_tasks()
    for text in "123":
        connection.send(a_frame(text))
        await asyncio.sleep(0)
    assert socket.taken == ["1", "2", "3"]
    assert len(asyncio.all_tasks() - before) == (0 if IS_EAGER else 1)
    connection.lost()
    await eventually(lambda: asyncio.all_tasks() == before)


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_send__a_burst_loses_nothing_however_large(settings, socket, turns):
    settings.PROGRESS_OUTBOX_BYTES = 100
    connection = Connection(AsgiSender(socket.send))
    socket.turns = turns
    texts = [f"{number:040}" for number in range(5_000)]
    send_all(connection, texts)
    await socket.until(*texts)
    assert connection.is_accepting
    connection.lost()


async def test_send__one_that_waits_delays_no_other(socket, connection):
    await fill(socket, connection)
    other = FakeSocket()
    second = Connection(AsgiSender(other.send))
    second.send(a_frame("1"))
    await other.until("1")
    second.lost()


async def test_send__runs_in_a_task(connection):
    """What uses ``asyncio.timeout`` or asks for the current task may be behind ``send``."""
    taken, tasks = [], set()

    async def send(message: dict[str, Any]) -> None:
        async with asyncio.timeout(10):
            tasks.add(asyncio.current_task())
            await asyncio.sleep(0)
        taken.append(message.get("text", message.get("code")))

    connection = Connection(AsgiSender(send))
    asyncio.get_running_loop().call_soon(send_all, connection, ["1", "2"])  # from where there is no task
    await eventually(lambda: len(taken) == 2)
    connection.close(CloseCode.GOING_AWAY)
    await eventually(lambda: taken == ["1", "2", CloseCode.GOING_AWAY])
    assert None not in tasks
    assert asyncio.current_task() not in tasks


# A socket that is full


async def test_full__what_waits_goes_in_order(socket, connection):
    await fill(socket, connection, "1")
    for text in "234":
        connection.send(a_frame(text))
    await asyncio.sleep(0)
    assert socket.taken == []
    socket.open.set()
    await socket.until("1", "2", "3", "4")


async def test_full__a_superseded_tick_is_not_sent(socket, connection):
    await fill(socket, connection)
    for text, kind, job in [
        ("2", "tick", "a"),
        ("other", "tick", "b"),
        ("3", "tick", "a"),
        ("line", "log", "a"),
        ("4", "tick", "a"),
    ]:
        connection.send(a_frame(text, kind, job))
    socket.open.set()
    await socket.until("stuck", "other", "line", "4")


async def test_full__what_lasts_is_all_sent_and_later_ticks_follow(socket, connection):
    await fill(socket, connection)
    send_all(connection, TWENTY[:10], lasting=True)
    send_all(connection, TWENTY[10:], lasting=True)
    send_all(connection, ["superseded"])
    send_all(connection, ["live"])
    socket.open.set()
    await socket.until("stuck", *TWENTY, "live")


async def test_replay__a_send_that_suspends_loses_nothing(socket, connection):
    socket.turns = 1
    send_all(connection, ["live before"])
    send_all(connection, TWENTY[:10], lasting=True)
    await asyncio.sleep(0)
    send_all(connection, TWENTY[10:], lasting=True)
    connection.send(a_frame("snapshot"))
    await socket.until("live before", *TWENTY, "snapshot")


async def test_full__as_before_once_all_is_sent(socket, connection):
    await fill(socket, connection, "1")
    connection.send(a_frame("2"))
    socket.open.set()
    await socket.until("1", "2")
    await asyncio.sleep(0)
    send_all(connection, TWENTY)
    await socket.until("1", "2", *TWENTY)


@pytest.mark.parametrize(("limit", "fits"), [(15, True), (14, False)])
@pytest.mark.parametrize("lasting", [False, True])
async def test_full__more_than_may_wait_is_too_slow(settings, socket, limit, fits, lasting):
    settings.PROGRESS_OUTBOX_BYTES = limit
    connection = Connection(AsgiSender(socket.send))
    await fill(socket, connection)
    for text in ("12345", "67890", "12345"):
        send_all(connection, [text], "status", lasting=lasting)
    assert connection.is_accepting == fits
    if fits:
        socket.open.set()
        await socket.until("stuck", "12345", "67890", "12345")
    else:
        connection.send(a_frame("later"))
        await socket.until(CloseCode.TOO_SLOW)
        assert socket.waiting == 0, "the send that was stuck has been cancelled"
        socket.open.set()
        await asyncio.sleep(0)
        assert socket.taken == [CloseCode.TOO_SLOW]
    connection.lost()


async def test_full__a_slow_watcher_that_reads_is_not_cut(settings, socket):
    settings.PROGRESS_OUTBOX_BYTES = 15  # five messages
    connection = Connection(AsgiSender(socket.send))
    socket.turns = 3  # of the loop, for each message
    texts = [f"{number:03}" for number in range(100)]
    for number, text in enumerate(texts):
        connection.send(a_frame(text))
        for _ in range(3 if number > 2 else 1):
            await asyncio.sleep(0)
        assert connection.is_accepting
        assert len(socket.taken) < number or number == 0, "some always wait"
    await socket.until(*texts)
    connection.lost()


# Waiting for a socket


async def test_ready__at_once_where_nothing_waits(socket, connection):
    async with asyncio.timeout(0):
        await connection.ready()


async def test_ready__when_all_is_sent(socket, connection):
    socket.turns = 2
    send_all(connection, TWENTY)
    await connection.ready()
    assert socket.taken == TWENTY
    await connection.ready()


@pytest.mark.parametrize("end", ["lost", "close", "too slow", "refused"])
async def test_ready__when_the_socket_is_given_up(settings, socket, connection, end):
    await fill(socket, connection)
    waiting = asyncio.ensure_future(connection.ready())
    await asyncio.sleep(0)
    assert not waiting.done()
    match end:
        case "lost":
            connection.lost()
        case "close":
            connection.close(CloseCode.GOING_AWAY)
        case "too slow":
            connection.close(CloseCode.TOO_SLOW)
        case "refused":
            socket.refused = {"stuck"}
            socket.open.set()
    await asyncio.wait_for(waiting, 10)
    assert not connection.is_accepting
    await connection.ready()


async def test_ready__one_who_waited_and_was_cancelled_harms_nothing(socket, connection):
    await fill(socket, connection)
    waiting = asyncio.ensure_future(connection.ready())
    await asyncio.sleep(0)
    waiting.cancel()
    connection.send(a_frame("1"))
    socket.open.set()
    await socket.until("stuck", "1")
    await asyncio.sleep(0)
    connection.send(a_frame("2"))
    await socket.until("stuck", "1", "2")


async def test_ready__again_after_one_who_waited_was_cancelled(socket, connection):
    await fill(socket, connection)
    waiting = asyncio.ensure_future(connection.ready())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(connection.ready())
    await asyncio.sleep(0)
    socket.open.set()
    await asyncio.wait_for(waiting, 10)
    assert socket.taken == ["stuck"]


async def test_ready__all_who_wait_go_on(socket, connection):
    """The subscriptions of one message may each wait in the middle of a replay."""
    socket.open.clear()
    connection.send(a_frame("stuck"))
    waiting = [asyncio.ensure_future(connection.ready()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    assert [each.done() for each in waiting] == [True, False, False]
    socket.open.set()
    await asyncio.gather(*waiting[1:])
    assert socket.taken == ["stuck"]


async def test_ready__a_socket_that_one_has_filled_again_is_not_ready_for_the_next(socket, connection):
    async def fill(text: str) -> None:
        await connection.ready()
        socket.open.clear()
        connection.send(a_frame(text))

    socket.open.clear()
    connection.send(a_frame("stuck"))
    filling = [asyncio.ensure_future(fill(text)) for text in "12"]
    await asyncio.sleep(0)
    socket.open.set()
    await filling[0]
    await socket.until("stuck")
    for _ in range(5):
        await asyncio.sleep(0)
    assert not filling[1].done()
    socket.open.set()
    await filling[1]
    socket.open.set()
    await socket.until("stuck", "1", "2")

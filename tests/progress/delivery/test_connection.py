"""A connection, and a transport's end that takes what the test lets it take."""

import asyncio

import pytest

from progress.delivery.connection import Connection
from progress.protocol.codes import CloseCode
from tests.progress.senders import TWENTY, FakeSender, a_frame, send_all
from tests.progress.watching import eventually, timers


@pytest.fixture
async def sender():
    return FakeSender()


@pytest.fixture
async def connection(sender):
    connection = Connection(sender)
    yield connection
    connection.lost()


# Sending


async def test_send__all_is_sent_at_once_in_one_piece(sender, connection):
    send_all(connection, TWENTY)
    connection.send(a_frame("live"))
    assert sender.chunks == [TWENTY, ["live"]]


async def test_full__what_lasts_is_all_sent_though_the_outbox_is_in_use(sender, connection):
    sender.room = 1
    send_all(connection, ["1"])
    send_all(connection, ["superseded"])
    send_all(connection, TWENTY, lasting=True)
    send_all(connection, ["superseded as well"])
    send_all(connection, ["live"])
    assert sender.sent == ["1"]
    sender.empty(room=5)
    assert sender.sent == ["1", *TWENTY[:5]]
    sender.empty()
    assert sender.sent == ["1", *TWENTY, "live"]
    send_all(connection, ["later"])
    assert sender.sent[-1] == "later"


async def test_full__by_what_others_send_over_the_same_line(sender, connection):
    connection.pause_writing()
    send_all(connection, ["superseded"])
    send_all(connection, ["1"])
    assert sender.sent == []
    connection.resume_writing()
    send_all(connection, ["2"])
    assert sender.sent == ["1", "2"]


async def test_full__more_than_may_wait_is_too_slow(settings, sender):
    settings.PROGRESS_OUTBOX_BYTES = 8
    connection = Connection(sender)
    sender.room = 1
    for text in ("stuck", "1234567", "1"):
        connection.send(a_frame(text))
    assert connection.is_accepting
    connection.send(a_frame("2"))
    assert (sender.sent, sender.codes) == (["stuck"], [CloseCode.TOO_SLOW])
    assert sender.is_aborted
    connection.lost()


async def test_ready__when_all_is_written(sender, connection):
    sender.room = 1
    connection.send(a_frame("1"))
    waiting = asyncio.ensure_future(connection.ready())
    await asyncio.sleep(0)
    connection.send(a_frame("2"))
    sender.empty(room=1)
    await asyncio.sleep(0)
    assert not waiting.done()
    sender.empty()
    await asyncio.wait_for(waiting, 10)
    assert sender.sent == ["1", "2"]


# One that is stuck


@pytest.mark.parametrize("waits", [False, True])
async def test_stuck__for_too_long(settings, sender, connection, waits):
    settings.PROGRESS_SEND_SECONDS = 0.01
    sender.room = 1
    connection.send(a_frame("1"))
    if waits:
        connection.send(a_frame("2"))
    await eventually(lambda: sender.codes)
    assert (sender.sent, sender.codes) == (["1"], [CloseCode.TOO_SLOW])


async def test_stuck__each_message_has_the_time(settings, sender, connection):
    settings.PROGRESS_SEND_SECONDS = 0.5
    sender.room = 1
    for text in "12345678":
        connection.send(a_frame(text))
    for _ in range(5):
        await asyncio.sleep(0.15)
        sender.empty(room=1)
    assert connection.is_accepting
    await eventually(lambda: sender.codes)
    assert (sender.sent, sender.codes) == (list("123456"), [CloseCode.TOO_SLOW])


async def test_stuck__while_it_is_to_be_closed(settings, sender, connection):
    settings.PROGRESS_SEND_SECONDS = 0.01
    sender.room = 1
    connection.send(a_frame("1"))
    connection.send(a_frame("2"))
    connection.close(CloseCode.GOING_AWAY)
    await eventually(lambda: sender.codes)
    assert (sender.sent, sender.codes) == (["1"], [CloseCode.GOING_AWAY])


# Closing


@pytest.mark.parametrize("code", [CloseCode.GOING_AWAY, CloseCode.TOO_SLOW])
async def test_close__nothing_follows_it(sender, connection, code):
    connection.close(code)
    connection.send(a_frame("1"))
    connection.close(CloseCode.TOKEN_EXPIRED)
    assert (sender.sent, sender.codes) == ([], [code])


async def test_close__after_what_waits(sender, connection):
    sender.room = 1
    for text in "123":
        connection.send(a_frame(text))
    connection.close(CloseCode.GOING_AWAY)
    connection.send(a_frame("4"))
    sender.empty(room=1)
    assert (sender.sent, sender.codes) == (["1", "2"], [])
    sender.empty(room=1)
    sender.empty()
    assert (sender.sent, sender.codes) == (["1", "2", "3"], [CloseCode.GOING_AWAY])


@pytest.mark.parametrize(("asked", "code"), [(None, CloseCode.RESYNC), (CloseCode.GOING_AWAY, CloseCode.GOING_AWAY)])
async def test_refused__nothing_that_waits_is_sent(sender, connection, asked, code):
    sender.room = 1
    for text in "123":
        connection.send(a_frame(text))
    if asked is not None:
        connection.close(asked)
    connection.refused()
    connection.send(a_frame("4"))
    connection.refused()
    assert (sender.sent, sender.codes) == (["1"], [code])


async def test_lost__lets_go_of_the_sender_and_leaves_no_timer(settings, sender, connection):
    settings.PROGRESS_SEND_SECONDS = 3600
    sender.room = 1
    connection.send(a_frame("1"))
    connection.send(a_frame("2"))
    assert len(timers()) == 1
    connection.lost()
    assert sender.flow is None
    assert timers() == []
    connection.send(a_frame("3"))
    connection.close(CloseCode.GOING_AWAY)
    connection.refused()
    assert (sender.sent, sender.codes) == (["1"], [])


@pytest.mark.parametrize("room", [1, 2])
async def test_lost__while_it_is_written_to(settings, sender, connection, room):
    settings.PROGRESS_SEND_SECONDS = 3600
    sender.room = room
    write = sender.write

    def lose(chunk):
        write(chunk)
        connection.lost()

    sender.write = lose
    connection = Connection(sender)
    connection.send(a_frame("1"))
    connection.send(a_frame("2"))
    assert not connection.is_accepting
    assert sender.sent == ["1"]
    assert timers() == []

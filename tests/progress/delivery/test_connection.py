"""A connection, against a socket that takes what the test lets it take."""

import asyncio
import sys
from typing import Any

import pytest

from progress.delivery.connection import Connection
from progress.protocol.codes import CloseCode
from progress.protocol.frames import Frame, event_frame
from tests.progress.watching import eventually, payloads

IS_EAGER = sys.version_info >= (3, 12)  # a task begins at once, where it is made


class FakeSocket:
    """Takes messages at once, or while ``open`` is set; some are refused instead.

    ``turns``: how often each send suspends first, as behind a middleware that awaits something.
    """

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.open = asyncio.Event()
        self.open.set()
        self.turns = 0
        self.waiting = 0
        self.refused: set[Any] = set()  # the texts and codes
        self.closes_at_once = True
        self.swallows_cancellation = False

    async def send(self, message: dict[str, Any]) -> None:
        closing = message["type"] == "websocket.close"
        what = message["code"] if closing else message["text"]
        for _ in range(self.turns):
            await asyncio.sleep(0)
        if not self.open.is_set() and not (closing and self.closes_at_once):
            await self._wait()
        if what in self.refused:
            raise ValueError("too large for this server")
        self.taken.append(what)

    async def _wait(self) -> None:
        self.waiting += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            if not self.swallows_cancellation:
                raise
        finally:
            self.waiting -= 1

    def take_one(self) -> None:
        """Take the message that is stuck, and no other."""
        self.open.set()
        self.open.clear()

    async def until(self, *taken: Any) -> None:
        await eventually(lambda: self.taken == list(taken))


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
async def socket():
    return FakeSocket()


@pytest.fixture
async def connection(socket):
    connection = Connection(socket.send)
    yield connection
    connection.lost()


@pytest.fixture
async def writer():
    return FakeWriter()


@pytest.fixture
async def written(socket, writer):
    """A connection with the frame writer."""
    connection = Connection(socket.send, writer)
    yield connection
    connection.lost()


def a_frame(text: str, kind: str = "status", job: str = "a") -> Frame:
    return event_frame(job, 1, kind, text)


def send_all(connection: Connection, texts: list[str], kind: str = "tick", **options: Any) -> None:
    frames = [a_frame(text, kind) for text in texts]
    connection.send_all(frames, b"".join(frame.wire for frame in frames), **options)


async def fill(socket: FakeSocket, connection: Connection, text: str = "stuck") -> None:
    """Bring a socket to where a message is stuck in it."""
    socket.open.clear()
    connection.send(a_frame(text))
    await eventually(lambda: socket.waiting)


TWENTY = [str(number) for number in range(20)]


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
    connection = Connection(socket.send)
    socket.turns = turns
    texts = [f"{number:040}" for number in range(5_000)]
    send_all(connection, texts)
    await socket.until(*texts)
    assert connection.is_accepting
    connection.lost()


async def test_send__one_that_waits_delays_no_other(socket, connection):
    await fill(socket, connection)
    other = FakeSocket()
    second = Connection(other.send)
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

    connection = Connection(send)
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


@pytest.mark.parametrize(("limit", "fits"), [(21, True), (20, False)])
@pytest.mark.parametrize("lasting", [False, True])
async def test_full__more_than_may_wait_is_too_slow(settings, socket, limit, fits, lasting):
    settings.PROGRESS_OUTBOX_BYTES = limit
    connection = Connection(socket.send)
    await fill(socket, connection)
    for text in ("12345", "67890", "12345"):
        send_all(connection, [text], "status", lasting=lasting)  # each has two bytes of header
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
    settings.PROGRESS_OUTBOX_BYTES = 25  # five messages
    connection = Connection(socket.send)
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


# Closing


@pytest.mark.parametrize("code", CloseCode)
async def test_close__of_an_idle_socket(socket, connection, code):
    connection.close(code)
    connection.send(a_frame("later"))
    assert not connection.is_accepting
    await socket.until(code)
    assert IS_EAGER or socket.taken == [code]


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
async def test_lost__a_send_that_does_not_end_as_it_is_told(socket, connection, how):
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


def timers() -> list[Any]:
    """Return the timers of connections."""
    scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return [each for each in scheduled if not each.cancelled() and isinstance(_owner(each._callback), Connection)]


def _owner(callback: Any) -> Any:
    return getattr(callback, "__self__", None)


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

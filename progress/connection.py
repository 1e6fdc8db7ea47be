"""One watcher's socket, as the hub sees it: frames go in, and never block whoever sends them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from types import coroutine
from typing import Any, Protocol

from progress.codes import CloseCode
from progress.conf import conf
from progress.outbox import Outbox
from progress.protocol import Frame

logger = logging.getLogger(__name__)

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Writer(Protocol):
    """What a server may offer: a way to write ready-made frames to the socket (`progress.server`)."""

    on_empty: Callable[[], None] | None

    def write(self, frames: bytes, /) -> bool:
        """Write whole frames; return whether the socket takes more."""


class Connection:
    """Sends frames in order, at once while the socket takes them, through a bounded outbox while it does not.

    Args:
        send: The ASGI ``send`` of the socket.
        writer: A way to write frames past it, where the server has one.

    """

    __slots__ = (
        "__weakref__",
        "_closing",
        "_deadline",
        "_is_open",
        "_outbox",
        "_outlet",
        "_ready",
        "_write",
        "_writer",
        "is_accepting",
        "watched",
    )

    def __init__(self, send: Send, writer: Writer | None = None) -> None:
        self.watched: dict[str, None] = {}  # the jobs, as the hub keeps it
        self.is_accepting = True  # whether the socket is there and stays
        self._is_open = True
        self._outlet = _AsgiOutlet(send, self)
        self._writer = writer
        self._write = None if writer is None else writer.write  # there while frames can go straight to the writer
        self._outbox: Outbox | None = None  # there while the socket is full
        self._deadline: asyncio.TimerHandle | None = None
        self._ready: asyncio.Future[None] | None = None  # of one who waits until the socket takes more
        self._closing: CloseCode | None = None
        if writer is not None:
            writer.on_empty = self.resume

    def send(self, frame: Frame) -> None:
        """Send a frame, or let it wait; a watcher for whom too much waits is closed with 4008."""
        self.send_all([frame], frame.wire if self._write else b"")

    def send_all(self, frames: Sequence[Frame], wire: bytes, *, lasting: bool = False) -> None:
        """Send several frames, which are given in one piece as well."""
        if self._write is not None:
            if not self._write(wire):
                self._full()
            return
        for frame in frames:
            if not self.is_accepting:
                return
            if self._outbox is None:
                if not self._outlet.send(frame.message):
                    self._full()
            elif not self._outbox.put(frame):
                self.close(CloseCode.TOO_SLOW)

    async def ready(self) -> None:
        """Wait until nothing waits for the socket, or it is given up. For one caller at a time."""
        if self._outbox is not None:
            self._ready = asyncio.get_running_loop().create_future()
            await self._ready

    def close(self, code: CloseCode) -> None:
        """Close the socket, after what waits was sent, but for a watcher that is too slow for it."""
        if not self.is_accepting:
            return
        logger.debug("Closing a socket with %d (%s)", code, code.name)
        self.is_accepting = False
        self._write = None
        self._closing = code
        if code is CloseCode.TOO_SLOW:
            self._give_up()
        elif self._outbox is None:
            self._outlet.close(code)

    def lost(self) -> None:
        """Take note that the socket is gone: nothing more is sent."""
        self.is_accepting = self._is_open = False
        self._write = None
        self._unblock()
        if self._writer is not None:
            self._writer.on_empty = None
        self._outlet.stop()
        self._stop_deadline()

    # What the outlet tells

    def resume(self) -> None:
        """Send what waits, now that the socket takes more."""
        self._stop_deadline()
        outbox = self._outbox
        while outbox:
            frame = outbox.pop()
            if not (self._outlet.send(frame.message) if self._writer is None else self._writer.write(frame.wire)):
                self._full()
                return
        self._unblock()
        if self._writer is not None and self.is_accepting:
            self._write = self._writer.write
        if outbox is not None and self._closing is not None:
            self._outlet.close(self._closing)

    def failed(self, error: Exception) -> None:
        """Take note that a message can't be sent: close a socket that misses one, if it is there at all."""
        logger.debug("A socket can't be sent to any more: %r", error)
        if self.is_accepting:
            self.is_accepting = False
            self._outlet.close(CloseCode.RESYNC)
        self.lost()

    def _full(self) -> None:
        """Let frames wait until the socket takes more, for so long."""
        if not self._is_open:
            return
        if self._outbox is None:
            self._outbox = Outbox(conf.OUTBOX_BYTES)
        self._write = None
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(conf.SEND_SECONDS, self._give_up)

    def _give_up(self) -> None:
        """Close the socket without what waits; the client comes back and resumes."""
        self.is_accepting = False
        self._write = None
        self._unblock()
        self._stop_deadline()
        self._outlet.close(CloseCode.TOO_SLOW)

    def _unblock(self) -> None:
        self._outbox = None
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


READY = object()  # what a pump yields when it has sent, and waits for the next message


class _AsgiOutlet:
    """Sends through ASGI ``send``, as far as that goes without waiting, and the rest in a task.

    Most sends are over at once, and a task for each would cost more than the sending. So one coroutine,
    the pump, does all of a socket's sends, and is driven by hand; only when it waits for something
    does a task take over, until it is ready again.
    """

    __slots__ = ("_connection", "_pump", "_send", "_waiting")

    def __init__(self, send: Send, connection: Connection) -> None:
        self._send = send
        self._connection = connection
        self._pump: Coroutine[Any, Any, None] | None = None
        self._waiting: asyncio.Task[None] | None = None

    def close(self, code: CloseCode) -> None:
        """Close the socket. A send that is stuck is given up for it."""
        self.stop()
        self.send({"type": "websocket.close", "code": int(code)})

    def stop(self) -> None:
        """Send nothing more of what is under way."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = self._pump = None

    def send(self, message: dict[str, Any]) -> bool:
        """Send a message; return whether the socket takes more."""
        if self._pump is None:
            self._pump = _pump(self._send)
            self._pump.send(None)
        try:
            waits_for = self._pump.send(message)
        except Exception as error:
            self._pump = None
            self._connection.failed(error)
            return True
        if waits_for is READY:
            return True
        self._waiting = asyncio.ensure_future(self._finish(_UntilReady(self._pump, waits_for)))
        return False

    async def _finish(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except Exception as error:
            self._pump = None
            self._connection.failed(error)
        else:
            self._waiting = None
            self._connection.resume()


async def _pump(send: Send) -> None:
    """Send one message after another, as they are given."""
    while True:
        await send(await _next_message())


@coroutine
def _next_message() -> Generator[Any, dict[str, Any], dict[str, Any]]:
    return (yield READY)


class _UntilReady:
    """An awaitable that takes a pump from what it waits for to where it is ready."""

    def __init__(self, pump: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._pump = pump
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        while waits_for is not READY:
            try:
                given = yield waits_for
            except BaseException as error:  # a cancellation, passed on to where it waits
                waits_for = self._pump.throw(error)
            else:
                waits_for = self._pump.send(given)

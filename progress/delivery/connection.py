"""One watcher's socket, as the hub sees it: frames go in, and never block whoever sends them."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from enum import Enum
from typing import Any, Protocol

from ..conf import conf
from ..protocol.codes import CloseCode
from ..protocol.frames import Frame
from .outbox import Outbox

logger = logging.getLogger(__name__)

FRAME_WRITER = "progress.frames"  # in scope["extensions"]: the socket's `Writer`, where the server has one
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Writer(Protocol):
    """What a server may offer: a way to write ready-made frames to the socket (`progress.transports.daphne`)."""

    on_empty: Callable[[], None] | None

    def write(self, frames: bytes, /) -> bool:
        """Write whole frames; return whether the socket takes more."""


class State(Enum):
    """Where a socket stands. From FULL it may open again; else it only goes down."""

    OPEN = "what comes is sent"
    FULL = "what comes waits for the socket"
    CLOSING = "nothing is taken; what waits is sent, then the close"
    CLOSED = "nothing but the close is sent"
    GONE = "nothing is sent"


OPEN, FULL, CLOSING, CLOSED, GONE = State

IS_EAGER = sys.version_info >= (3, 12)  # Python can begin a task at once


class Connection:
    """Sends frames in order, at once while the socket takes them, through a bounded outbox while it does not.

    A server's frame writer says itself when it takes no more. ASGI ``send`` suspends instead, so it runs in a
    task, which sends one message after another. The close is the last thing that this task does, with a frame writer
    as well.

    Args:
        send: The ASGI ``send`` of the socket.
        writer: A way to write frames past it, where the server has one.

    """

    __slots__ = (
        "__weakref__",
        "_code",
        "_deadline",
        "_idle",
        "_outbox",
        "_ready",
        "_send",
        "_sending",
        "_state",
        "_write",
        "_writer",
        "watched",
    )

    def __init__(self, send: Send, writer: Writer | None = None) -> None:
        self.watched: dict[str, None] = {}  # the jobs, as the hub keeps it
        self._send = send
        self._writer = writer
        self._outbox = Outbox(conf.OUTBOX_BYTES)
        self._code = CloseCode.RESYNC  # to close with; unless another was asked for, a message was refused
        self._sending: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None  # what the task waits for while there is nothing
        self._deadline: asyncio.TimerHandle | None = None
        self._ready: asyncio.Future[None] | None = None  # of those who wait until nothing waits
        self._enter(OPEN)
        if writer is not None:
            writer.on_empty = self._resume

    @property
    def is_accepting(self) -> bool:
        """Whether the socket is there and stays."""
        return self._state is OPEN or self._state is FULL

    def send(self, frame: Frame) -> None:
        """Send a frame, or let it wait; a watcher for whom too much waits is closed with 4008."""
        self.send_all([frame], frame.wire)

    def send_all(self, frames: Sequence[Frame], wire: bytes, *, lasting: bool = False) -> None:
        """Send several frames, given in one chunk as well; those that have to wait are superseded unless lasting."""
        if self._write is not None:
            if not self._write(wire):
                self._fill()
            return
        if self._state is OPEN:
            for frame in frames:
                self._outbox.put(frame, lasting=True)  # until the task begins, the socket is as good as any
            self._start()
        elif self._state is FULL:
            self._expect()
            for frame in frames:
                if not self._outbox.put(frame, lasting=lasting):
                    self.close(CloseCode.TOO_SLOW)
                    return

    async def ready(self) -> None:
        """Wait until nothing waits for the socket, or it is given up; of several callers each finds it so."""
        while self._state is FULL or (self._state is OPEN and self._outbox):
            self._expect()
            if self._ready is None:
                self._ready = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._ready)  # one who is cancelled takes nobody along

    def close(self, code: CloseCode) -> None:
        """Close the socket, after what waits was sent, but for a watcher that is too slow for it."""
        if not self.is_accepting:
            return
        self._code = code
        is_full = self._state is FULL
        if is_full and code is CloseCode.TOO_SLOW:
            self._give_up()
            return
        self._enter(CLOSING)
        self._expect()
        if not is_full:
            self._start()

    def lost(self) -> None:
        """Take note that the socket is gone: nothing more is sent."""
        self._enter(GONE)
        if self._writer is not None:
            self._writer.on_empty = None
        if self._sending is not None:
            self._sending.cancel()

    def _enter(self, state: State) -> None:
        """Change the state, and all that follows from it."""
        self._state = state
        self._write = self._writer.write if state is OPEN and self._writer is not None else None
        if state is CLOSED or state is GONE:
            self._outbox.clear()
        if state is not FULL and state is not CLOSING:
            self._stop_deadline()
        if self._ready is not None and state is not FULL:
            if not self._ready.done():
                self._ready.set_result(None)
            self._ready = None

    # A socket that is stuck

    def _expect(self) -> None:
        """Give up unless the socket takes something within ``PROGRESS_SEND_SECONDS``, which may run already."""
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(conf.SEND_SECONDS, self._give_up)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        """Close the socket without what waits, and without what is stuck; the client comes back and resumes."""
        if self._state is FULL:
            self._code = CloseCode.TOO_SLOW
        self._enter(CLOSED)
        if self._sending is not None:
            self._sending.cancel()
        else:
            self._start()

    # With a frame writer

    def _fill(self) -> None:
        """Take note that the writer takes no more."""
        if self._state is OPEN:
            self._enter(FULL)
            self._expect()

    def _resume(self) -> None:
        """Write what waits, now that the writer takes more."""
        assert self._writer is not None
        self._stop_deadline()
        while (frame := self._outbox.pop()) is not None:
            if not self._writer.write(frame.wire):
                self._expect()
                return
        if self._state is FULL:
            self._enter(OPEN)
        elif self._state is CLOSING:
            self._start()

    # With ASGI

    def _start(self) -> None:
        """Let the task send what there is, unless it does."""
        if self._sending is None:
            sending = _begun(self._work())
            if not sending.done():
                self._sending = sending
        elif self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _work(self) -> None:
        """Send what there is. A task that could not begin at once then stays for more: to make another costs more."""
        try:
            await self._send_waiting()
            while self._state is OPEN and not IS_EAGER:
                self._idle = asyncio.get_running_loop().create_future()
                await self._idle
                await self._send_waiting()
        except asyncio.CancelledError:
            self._enter(GONE)  # if it is not yet: all tasks are to end
            raise
        finally:
            self._sending = None

    async def _send_waiting(self) -> None:
        """Send one message after another, then the close if there is to be one."""
        if self._state is OPEN:
            self._enter(FULL)
        try:
            while (frame := self._outbox.pop()) is not None:
                await self._send(frame.message)
                if self._deadline is not None:
                    self._stop_deadline()
                    self._expect()
        except asyncio.CancelledError:
            if self._state is not CLOSED:
                raise
            # Otherwise it was stuck, and given up.
        except Exception as error:
            logger.debug("A message was refused: %r", error)
            if self._state is FULL:
                self._enter(CLOSING)
        if self._state is FULL:
            self._enter(OPEN)
        elif self._state is not GONE:
            await self._send_close()

    async def _send_close(self) -> None:
        self._enter(CLOSED)
        logger.debug("Closing a socket with %d (%s)", self._code, self._code.name)
        try:
            await self._send({"type": "websocket.close", "code": int(self._code)})
        except Exception as error:
            logger.debug("A socket can't be closed: %r", error)
        self._enter(GONE)


def _begun(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Return a task that, where Python can, has run already as far as it goes without waiting."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)

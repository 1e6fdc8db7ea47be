"""One watcher's connection, as the hub sees it: frames go in, and never block whoever sends them."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from enum import Enum
from typing import Protocol

from ..conf import conf
from ..identity.identity import ANYBODY
from ..protocol.codes import CloseCode
from ..protocol.frames import Frame
from .chunks import Chunk, chunks
from .outbox import Outbox

logger = logging.getLogger(__name__)


class FlowControl(Protocol):
    """What a sender calls, as asyncio's transports call their protocols."""

    def pause_writing(self) -> None:
        """Write nothing more for now. A repeated pause starts the deadline anew."""

    def resume_writing(self) -> None:
        """Write on."""

    def refused(self) -> None:
        """Close: a message was refused, and what was written behind it was dropped."""

    def lost(self) -> None:
        """Nothing more can be sent."""


class Sender(Protocol):
    """What a transport gives a connection to send with.

    The connection writes freely until `FlowControl.pause_writing`, which may be called from within `write`. When
    `FlowControl.resume_writing` is called, it writes one chunk at a time, for as long as the sender is writable.
    """

    flow: FlowControl | None  #: what it calls; None before a connection uses it, and after `stop`

    @property
    def is_writable(self) -> bool:
        """Whether it takes another chunk now, with at most a bounded buffer before it."""

    def write(self, chunk: Chunk, /) -> None:
        """Send frames, in order."""

    def close(self, code: CloseCode, /) -> None:
        """Close behind what was written; `abort` may follow."""

    def abort(self, code: CloseCode, /) -> None:
        """Close without what is stuck, as far as it can be taken back; do nothing if that is the close itself."""

    def stop(self) -> None:
        """Send nothing more, and call nothing more."""


class State(Enum):
    """The states of a connection, which moves down this list; only FULL can return to OPEN."""

    OPEN = "what comes is sent"
    FULL = "what comes waits for the sender"
    CLOSING = "nothing is taken; what waits is sent, then the close"
    CLOSED = "nothing but the close is sent"
    GONE = "nothing is sent"


OPEN, FULL, CLOSING, CLOSED, GONE = State


class Connection:
    """Sends frames in order, at once while its transport takes them, through a bounded outbox while it does not.

    Args:
        sender: The transport's end.
        is_one_way: Whether the client can ask for nothing later, so that the connection ends with its last job.

    """

    __slots__ = (
        "__weakref__",
        "_code",
        "_deadline",
        "_outbox",
        "_ready",
        "_sender",
        "_state",
        "_turn",
        "_write",
        "identity",
        "is_one_way",
        "pending",
        "used_at",
        "watched",
    )

    def __init__(self, sender: Sender, *, is_one_way: bool = False) -> None:
        self.identity = ANYBODY  # whose it is, as read last (`progress.delivery.access_guard`)
        self.is_one_way = is_one_way
        self.watched: dict[str, None] = {}  # the jobs, as the hub keeps it
        self.used_at = asyncio.get_running_loop().time()  # when it last watched something (`progress.delivery.idle`)
        self.pending: dict[str, None] = {}  # the jobs and feeds to which a subscription is being made
        self._sender = sender
        self._outbox = Outbox(conf.OUTBOX_BYTES)
        self._code = CloseCode.RESYNC  # to close with; unless another was asked for, a message was refused
        self._deadline: asyncio.TimerHandle | None = None
        self._ready: asyncio.Future[None] | None = None  # of those who wait for the sender
        self._turn: asyncio.Lock | None = None  # few ever need it
        self._enter(OPEN)  # which sets `_write`: what takes a chunk while the connection is open, None otherwise
        sender.flow = self

    @property
    def is_accepting(self) -> bool:
        """Whether the watcher is there and stays."""
        return self._state is OPEN or self._state is FULL

    def send(self, frame: Frame) -> None:
        """Send a frame, or let it wait; a watcher for whom too much waits is closed with 4008."""
        self.send_chunk(Chunk([frame]))

    def send_chunk(self, chunk: Chunk, *, lasting: bool = False) -> None:
        """Send several frames; those that have to wait are superseded unless lasting."""
        if self._write is not None:
            self._write(chunk)
            if self._write is None:
                self._start_deadline()
        elif self._state is FULL:
            self._start_deadline()
            for frame in chunk.frames:
                if not self._outbox.put(frame, lasting=lasting):
                    self.close(CloseCode.TOO_SLOW)
                    return

    @property
    def turn(self) -> asyncio.Lock:
        """Held by who has much in memory for this watcher: one at a time, however many jobs it asks for at once."""
        if self._turn is None:
            self._turn = asyncio.Lock()
        return self._turn

    async def ready(self) -> None:
        """Wait until the sender takes more, or the connection is closing; several may wait."""
        while self.is_accepting and not (self._state is OPEN and self._sender.is_writable):
            self._start_deadline()
            if self._ready is None:
                self._ready = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._ready)  # who is cancelled does not cancel it for the others

    def close(self, code: CloseCode) -> None:
        """Close after what waits was sent; with TOO_SLOW, at once."""
        if not self.is_accepting:
            return
        self._code = code
        if self._state is OPEN:
            if not self._sender.is_writable:
                self._start_deadline()
            self._close()
        elif code is CloseCode.TOO_SLOW:
            self._give_up()
        else:
            self._enter(CLOSING)
            self._start_deadline()

    # What the sender calls

    def pause_writing(self) -> None:
        """Let wait what comes."""
        if self._state is OPEN:
            self._enter(FULL)
        if self._deadline is not None:
            self._stop_deadline()
            self._start_deadline()

    def resume_writing(self) -> None:
        """Write what waits."""
        self._stop_deadline()
        while self._sender.is_writable:
            frame = self._outbox.pop()
            if frame is None:
                if self._state is FULL:
                    self._enter(OPEN)
                elif self._state is CLOSING:
                    self._close()
                return
            self._sender.write(Chunk([frame]))
        self._start_deadline()

    def refused(self) -> None:
        """Close without sending what waits: behind a message that was refused, any other would leave a gap."""
        if self._state not in (CLOSED, GONE):
            self._stop_deadline()
            self._close()

    def lost(self) -> None:
        """Send nothing more: the client is gone."""
        self._enter(GONE)
        self._sender.stop()

    # States

    def _enter(self, state: State) -> None:
        """Change the state, and all that follows from it."""
        self._state = state
        self._write = self._sender.write if state is OPEN else None
        if state is CLOSED:
            logger.debug("Closing a connection with %d (%s)", self._code, self._code.name)
        if state is CLOSED or state is GONE:
            self._outbox.clear()
        if state is OPEN or state is GONE:
            self._stop_deadline()
        if self._ready is not None and state is not FULL:
            if not self._ready.done():
                self._ready.set_result(None)
            self._ready = None

    def _close(self) -> None:
        self._enter(CLOSED)
        self._sender.close(self._code)

    # A client that takes nothing

    def _start_deadline(self) -> None:
        """Give up after ``PROGRESS_SEND_SECONDS``, unless the sender takes something or the time is running already."""
        if self._deadline is None and self._state is not GONE:
            self._deadline = asyncio.get_running_loop().call_later(conf.SEND_SECONDS, self._give_up)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        """Close without what waits, and without what is stuck; the client comes back and resumes."""
        self._stop_deadline()
        if self._state is FULL:
            self._code = CloseCode.TOO_SLOW
        self._enter(CLOSED)
        self._sender.abort(self._code)


def fan_out(connections: Collection[Connection], frames: Sequence[Frame]) -> None:
    """Send frames to many, in chunks that are made once for all of them."""
    if connections and frames:
        for chunk in chunks(frames):
            for connection in connections:
                connection.send_chunk(chunk)

"""One WebSocket on our server: it limits what a client sends, reads in turns, and closes without a reset."""

import asyncio
import socket
import time
from collections import deque
from typing import Any, Protocol

from autobahn.websocket.types import ConnectionDeny
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import tcp, unix

from ...conf import conf
from ...identity.limits import COST_BYTES, MessageRate
from ...protocol.codes import CloseCode
from .frame_writer import FrameWriter

STOPPING = "The server is stopping"
READ_BYTES = 8_192  # at a time; a usual message takes a hundred
SEND_BUFFER_BYTES = 65_536  # of the kernel for each watcher, which doubles it; by default it may grow to 4 MB
STEPS_A_TURN = 8  # of Autobahn's parser, two for a frame, before others have their turn
CLIENT_STEPS_A_TURN = 32  # of all sockets of one client
QUEUED_MESSAGES = 4  # that the application has not taken yet; after a long one, nothing is read until it is taken
LONG_MESSAGE_BYTES = 4_096
PATIENCE_SECONDS = 10.0  # in which a client that is behind may read what was sent, then the close and its code
REFUSED_SECONDS = 1.0  # in which any other client may answer the close
BEHIND = frozenset({CloseCode.TOO_SLOW, CloseCode.RESYNC, CloseCode.GOING_AWAY})
SUBPROTOCOLS = "sec-websocket-protocol"
FLOODING = frozenset({CloseCode.TOO_MANY_MESSAGES, 1002, 1007, 1009})  # the last three: broke the WebSocket protocol


class Inbox(asyncio.Queue[dict[str, Any]]):
    """The messages for the application; more are read once it has taken all of them."""

    def __init__(self, protocol: "FrameProtocol") -> None:
        super().__init__()
        self._protocol = protocol

    def _get(self) -> dict[str, Any]:
        message: dict[str, Any] = super()._get()
        if self.empty():
            self._protocol.release(FrameProtocol.UNTAKEN)
        return message


class Turn:
    """The steps that all sockets of one client share in a turn of the event loop: a hundred get no more than one."""

    __slots__ = ("__weakref__", "_left", "_waiting")

    def __init__(self) -> None:
        self._left = CLIENT_STEPS_A_TURN
        self._waiting: deque[FrameProtocol] = deque()

    def take(self) -> bool:
        """Take a step; return False if none is left in this turn."""
        if not self._left:
            return False
        if self._left == CLIENT_STEPS_A_TURN:
            asyncio.get_running_loop().call_soon(self._begin)
        self._left -= 1
        return True

    def wait(self, protocol: "FrameProtocol") -> None:
        """Have a socket go on in a later turn."""
        self._waiting.append(protocol)

    def _begin(self) -> None:
        self._left = CLIENT_STEPS_A_TURN
        for _ in range(len(self._waiting)):
            if not self._left:
                return
            self._waiting.popleft().release(FrameProtocol.TURN)


class Limits(Protocol):
    """What the server is to a socket: `progress.transports.daphne.server.ProgressServer`."""

    is_draining: bool

    def allowance_of(self, address: str | None, /) -> MessageRate:
        """Return what a client may send, with all its sockets."""

    def turn_of(self, address: str | None, /) -> Turn:
        """Return what the sockets of a client share of a turn of the event loop."""


class FrameProtocol(WebSocketProtocol):
    """Daphne's WebSocket protocol, with limits on reading; it reports to the frame writer what Autobahn writes."""

    # Reasons to read nothing, as bits of one number
    FULL = 1  # the client does not read what it is sent
    UNTAKEN = 2  # the application has not taken what came
    TURN = 4  # it is the others' turn
    OWING = 8  # the client has sent more than it may

    server: Limits
    frame_writer: FrameWriter | None = None
    maxMessagePayloadSize: int  # noqa: N815  (Autobahn's own)
    data: bytes
    state: int
    turn: Turn
    _held = 0
    _is_flooding = False
    _control_rate: MessageRate | None = None  # for control frames and continuation frames

    def onConnect(self, request: Any) -> Any:  # noqa: N802
        """Begin a connection; refuse it with 503 while the server is stopping."""
        self.transport.bufferSize = READ_BYTES
        if not request.headers.get(SUBPROTOCOLS, "").isascii():
            del request.headers[SUBPROTOCOLS]  # no name of one could be (RFC 6455, 4.1), and Daphne would fail on it
        handshake = super().onConnect(request)
        address = self.client_addr[0] if self.client_addr else None
        self._allowance, self.turn = self.server.allowance_of(address), self.server.turn_of(address)
        if self.server.is_draining:
            handshake.errback(ConnectionDeny(503, STOPPING))
        return handshake

    # Reading

    def hold(self, why: int) -> None:
        """Pause reading, for one reason."""
        if not self._held:
            self.transport.pauseProducing()
        self._held |= why

    def release(self, why: int) -> None:
        """Drop one reason; if none is left, handle what was read already, then read on."""
        if not self._held & why:
            return
        self._held &= ~why
        if not self._held and self.data:
            self.consumeData()
        if not self._held and self.state != self.STATE_CLOSED:
            self.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take bytes; those of a client that was refused for flooding are dropped unparsed."""
        if self._is_flooding:
            self.data = b""
        else:
            super().dataReceived(data)

    def consumeData(self) -> None:  # noqa: N802
        """Parse the next frames, a few in a turn."""
        if self.state not in (self.STATE_OPEN, self.STATE_CLOSING):
            super().consumeData()
            return
        for _ in range(STEPS_A_TURN):
            if self._held or self._is_flooding or self.state == self.STATE_CLOSED:
                return
            if not self.turn.take():
                break
            if not self.processData():
                return
        if self.data and not self._held:
            self.hold(self.TURN)
            self.turn.wait(self)

    def onFrameBegin(self) -> None:  # noqa: N802
        """Count a frame against the limits of the socket and of its client."""
        super().onFrameBegin()
        frame, now = self.current_frame, time.monotonic()
        if frame.opcode > 7 or frame.opcode == 0:
            if self._control_rate is None:
                self._control_rate = MessageRate(conf.MAX_MESSAGES_PER_SECOND, conf.MAX_MESSAGES_BURST, now)
            if not self._control_rate.allows(now):
                self.sendCloseFrame(code=CloseCode.TOO_MANY_MESSAGES)
                return
        taken = min(frame.length, conf.MAX_MESSAGE_BYTES)  # of a frame that says it is longer, nothing is
        if wait := self._allowance.spend(1 + taken / COST_BYTES, now):
            self.hold(self.OWING)
            asyncio.get_running_loop().call_later(wait, self.release, self.OWING)

    def onFrameData(self, payload: bytes) -> Any:  # noqa: N802
        """Take a part of a frame, unless the client was refused: the frame may be of any length."""
        return None if self.failedByMe or self._is_flooding else super().onFrameData(payload)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        """Queue a message for the application, unless that has closed the socket; pause reading if much is queued."""
        if self.state != self.STATE_OPEN:
            return
        super().onMessage(payload, isBinary)
        if len(payload) > LONG_MESSAGE_BYTES or self.application_queue.qsize() >= QUEUED_MESSAGES:
            self.hold(self.UNTAKEN)

    # Writing

    def serverAccept(self, subprotocol: str | None = None) -> None:  # noqa: N802
        """Accept the WebSocket, and limit what the kernel buffers for a slow watcher."""
        if type(self.transport) in (tcp.Server, unix.Server):
            self.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        super().serverAccept(subprotocol)

    def sendMessage(self, *args: Any, **options: Any) -> None:  # noqa: N802
        """Send a message of any length; Autobahn would apply the limit for the client's messages to ours."""
        limit, self.maxMessagePayloadSize = self.maxMessagePayloadSize, 0
        try:
            super().sendMessage(*args, **options)
        finally:
            self.maxMessagePayloadSize = limit

    def sendData(self, *args: Any, **options: Any) -> None:  # noqa: N802
        """Send bytes that Autobahn made: a pong, a close, the answer to the handshake."""
        super().sendData(*args, **options)
        if self.frame_writer is not None:
            self.frame_writer.use_buffer()

    # The end

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: Any = None, isReply: bool = False) -> None:  # noqa: N802, N803
        """Begin or answer the closing handshake; no frame may follow it."""
        if self.frame_writer is not None:
            self.frame_writer.end()
        is_flooding = not isReply and code in FLOODING and self.state == self.STATE_OPEN
        self.closeHandshakeTimeout = PATIENCE_SECONDS if code in BEHIND else REFUSED_SECONDS
        super().sendCloseFrame(code, reasonUtf8, isReply)
        self._is_flooding |= is_flooding
        self.release(self.UNTAKEN)

    def dropConnection(self, abort: bool = False) -> None:  # noqa: N802
        """End the connection; with a reset only if bytes still wait, which may never be sent.

        Autobahn aborts even after a clean close. The reset makes clients see 1006 in place of the close code.
        """
        waits = self.frame_writer is not None and self.frame_writer.waiting
        is_written = self.wasClean or (self.frame_writer is not None and not waits)
        super().dropConnection(abort=abort and not is_written)
        if waits:  # for a client that closes and then reads nothing; Autobahn has a time limit for our own closes only
            asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self.transport.abortConnection)

"""The sender on our server: it writes ready-made frames straight to the socket, and reports when that is full."""

import errno
import struct
from collections.abc import Sequence
from typing import Any, Protocol

from ...delivery.chunks import Chunk
from ...delivery.connection import FlowControl
from ...protocol.codes import CloseCode
from ...protocol.frames import Frame

FINAL_TEXT = 0x81  # the first byte of a frame that is a whole text message
BUFFER_BYTES = 65_536  # what may wait in Twisted's buffer before the writing is paused
# The kernel's buffer is full; the same errors as in Twisted.
NO_ROOM = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS}


class Line(Protocol):
    """What Daphne's protocol is to the writer: `progress.transports.daphne.ws_protocol.FrameProtocol`."""

    FULL: int
    frame_writer: "FrameWriter | None"
    transport: Any

    def hold(self, why: int, /) -> None:
        """Read nothing more for one reason."""

    def release(self, why: int, /) -> None:
        """Read on, unless there is another reason not to."""

    def serverClose(self, code: int, /) -> None:  # noqa: N802
        """Begin the closing handshake."""


class FrameWriter:
    """Writes ready-made WebSocket frames to one socket, between those that Autobahn writes itself.

    While Twisted's buffer is empty, a frame goes to the socket at once; otherwise it goes into the buffer, so frames
    are never mixed. As the transport's pull producer the writer is called whenever the buffer has become empty; the
    protocol calls `use_buffer` whenever Autobahn has put something in.

    It serves TCP and Unix sockets. With TLS a frame can't be written to the socket as it is, so there is no writer:
    frames go through Autobahn, which queues without bound for a client that does not read. Let a proxy do the TLS.
    """

    __slots__ = ("_is_direct", "_is_full", "_is_stopped", "_protocol", "_send", "_transport", "flow")

    def __init__(self, protocol: Line) -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        self._send = protocol.transport.socket.send
        self._is_direct = False  # Twisted's buffer is empty
        self._is_full = False
        self._is_stopped = False
        self.flow: FlowControl | None = None
        protocol.frame_writer = self
        # The producer so far is the HTTP channel, which is done since the connection was upgraded.
        self._transport.unregisterProducer()
        self._transport.registerProducer(self, False)

    @property
    def is_writable(self) -> bool:
        """Whether there is room; always once the writer has stopped, since it drops what it is given."""
        return not self._is_full or self._is_stopped

    def write(self, chunk: Chunk) -> None:
        """Write frames, in order."""
        frames = chunk.encoded(websocket_frames)
        if self._is_direct:
            try:
                sent = self._send(frames)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    self._fail()
                    return
                sent = 0
            if sent == len(frames):
                return
            frames = frames[sent:]
        if not self._is_stopped:
            self._transport.write(frames)
            self.use_buffer()

    def close(self, code: CloseCode) -> None:
        """Close after what was written; ``abort`` does the same, since what is in the buffer can't be taken back."""
        self._protocol.serverClose(int(code))

    abort = close

    @property
    def waiting(self) -> int:
        """How many bytes wait in Twisted's buffer."""
        transport = self._transport
        waiting: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        return waiting

    def use_buffer(self) -> None:
        """Write to Twisted's buffer until it is empty, and pause the writing if it holds too much."""
        self._is_direct = False
        if self.waiting > BUFFER_BYTES and not self._is_full:
            self._is_full = True
            self._protocol.hold(self._protocol.FULL)  # and read nothing from a client that does not read
            if self.flow is not None:
                self.flow.pause_writing()

    def _fail(self) -> None:
        """Drop the connection, since part of a frame may have been sent; Daphne sends the consumer the disconnect."""
        self.end()
        self._transport.abortConnection()

    def end(self) -> None:
        """Write nothing more: the closing handshake has begun, or the connection is lost."""
        self._is_direct = False
        self._is_stopped = True

    def stop(self) -> None:
        """Write nothing more, and make no more calls to `flow`."""
        self.end()
        self.flow = None

    # Twisted's pull producer

    def resumeProducing(self) -> None:  # noqa: N802
        """Write directly again: Twisted's buffer is empty."""
        self._is_direct = not self._is_stopped
        if self._is_full:
            self._is_full = False
            self._protocol.release(self._protocol.FULL)
            if self.flow is not None:
                self.flow.resume_writing()

    def stopProducing(self) -> None:  # noqa: N802
        """Stop: the connection is lost."""
        self.stop()


def websocket_frames(frames: Sequence[Frame]) -> bytes:
    """Return whole text frames (RFC 6455, section 5.2): unmasked, so the same bytes for every client."""
    return b"".join([websocket_frame(frame.payload) for frame in frames])


def websocket_frame(payload: bytes) -> bytes:
    """Return a whole, unmasked text frame."""
    length = len(payload)
    if length < 126:
        return bytes((FINAL_TEXT, length)) + payload
    if length < 1 << 16:
        return struct.pack("!BBH", FINAL_TEXT, 126, length) + payload
    return struct.pack("!BBQ", FINAL_TEXT, 127, length) + payload

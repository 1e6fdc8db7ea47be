"""A way to write a ready-made frame straight to a socket, and word of a socket that takes no more."""

import errno
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...delivery.chunks import Chunk
from ...delivery.connection import FlowControl
from ...protocol.codes import CloseCode
from ...protocol.frames import Frame

if TYPE_CHECKING:
    from .ws_protocol import FrameProtocol

FINAL_TEXT = 0x81  # the first byte of a frame: the whole message, and it is text
BUFFER_BYTES = 65_536  # what may wait in Twisted's buffer before the outbox begins
NO_ROOM = {
    errno.EAGAIN,
    errno.EWOULDBLOCK,
    errno.ENOBUFS,
}  # the kernel takes nothing now; the same errors as in Twisted


class FrameWriter:
    """Writes ready-made WebSocket frames to one socket, between those that Autobahn writes itself.

    While nothing waits in Twisted's buffer, a frame goes to the socket at once, else behind what waits, so
    frames are never mixed. As the transport's pull producer the writer is called whenever that buffer has
    become empty; the protocol tells it whenever Autobahn puts something in.

    For TCP and Unix sockets. With TLS there is none, since what such a socket takes is not what a frame is made
    of: frames go through Autobahn then, which queues for a client that does not read whatever it is given. Let a
    proxy do the TLS.
    """

    __slots__ = ("_is_direct", "_is_full", "_is_stopped", "_protocol", "_send", "_transport", "flow")

    def __init__(self, protocol: "FrameProtocol") -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        self._send = protocol.transport.socket.send
        self._is_direct = False  # nothing waits in the buffer
        self._is_full = False
        self._is_stopped = False
        self.flow: FlowControl | None = None
        protocol.frame_writer = self
        # Until now this was the HTTP channel that upgraded the connection, which is over.
        self._transport.unregisterProducer()
        self._transport.registerProducer(self, False)

    @property
    def is_writable(self) -> bool:
        """Whether the socket takes more; once nothing is written any more, it takes all."""
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
            self.wait()

    def close(self, code: CloseCode) -> None:
        """Close behind what was written, of which nothing can be taken back."""
        self._protocol.serverClose(int(code))

    abort = close

    @property
    def waiting(self) -> int:
        """How many bytes wait in Twisted's buffer."""
        transport = self._transport
        waiting: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        return waiting

    def wait(self) -> None:
        """Take note that something is in the buffer, and perhaps too much."""
        self._is_direct = False
        if self.waiting > BUFFER_BYTES and not self._is_full:
            self._is_full = True
            self._protocol.hold(self._protocol.FULL)  # nor is more read from a client that does not read itself
            if self.flow is not None:
                self.flow.pause_writing()

    def _fail(self) -> None:
        """Give the connection up, since its frames would no longer be whole; the consumer hears of it from Daphne."""
        self.end()
        self._transport.abortConnection()

    def end(self) -> None:
        """Write nothing more: the closing handshake has begun, or the connection is lost."""
        self._is_direct = False
        self._is_stopped = True

    def stop(self) -> None:
        """Send nothing more, and call nobody."""
        self.end()
        self.flow = None

    # Twisted's pull producer

    def resumeProducing(self) -> None:  # noqa: N802
        """Take note that the buffer is empty."""
        self._is_direct = not self._is_stopped
        if self._is_full:
            self._is_full = False
            self._protocol.release(self._protocol.FULL)
            if self.flow is not None:
                self.flow.resume_writing()

    def stopProducing(self) -> None:  # noqa: N802
        """Take note that the connection is lost."""
        self.stop()


def websocket_frames(frames: Sequence[Frame]) -> bytes:
    """Return whole text frames (RFC 6455, section 5.2): unmasked, so the same bytes for everybody."""
    return b"".join([websocket_frame(frame.payload) for frame in frames])


def websocket_frame(payload: bytes) -> bytes:
    """Return a whole, unmasked text frame."""
    length = len(payload)
    if length < 126:
        return bytes((FINAL_TEXT, length)) + payload
    if length < 1 << 16:
        return struct.pack("!BBH", FINAL_TEXT, 126, length) + payload
    return struct.pack("!BBQ", FINAL_TEXT, 127, length) + payload

"""A way to write a ready-made frame straight to a socket, and word of a socket that takes no more."""

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .websocket import FrameProtocol

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

    __slots__ = ("_is_direct", "_is_full", "_is_stopped", "_protocol", "_send", "_transport", "on_empty")

    def __init__(self, protocol: "FrameProtocol") -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        self._send = protocol.transport.socket.send
        self._is_direct = False  # nothing waits in the buffer
        self._is_full = False
        self._is_stopped = False
        self.on_empty: Callable[[], None] | None = None
        protocol.frame_writer = self
        # Until now this was the HTTP channel that upgraded the connection, which is over.
        self._transport.unregisterProducer()
        self._transport.registerProducer(self, False)

    def write(self, frames: bytes) -> bool:
        """Write one or more whole frames; return whether the socket takes more."""
        if self._is_direct:
            try:
                sent = self._send(frames)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    return self._fail()
                sent = 0
            if sent == len(frames):
                return True
            frames = frames[sent:]
        if not self._is_stopped:
            self._transport.write(frames)
            self.wait()
        return not self._is_full or self._is_stopped

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

    def _fail(self) -> bool:
        """Give the connection up, since its frames would no longer be whole; the consumer hears of it from Daphne."""
        self.stop()
        self._transport.abortConnection()
        return True

    def stop(self) -> None:
        """Write nothing more: the closing handshake has begun, or the connection is lost."""
        self._is_direct = False
        self._is_stopped = True

    # Twisted's pull producer

    def resumeProducing(self) -> None:  # noqa: N802
        """Take note that the buffer is empty."""
        self._is_direct = not self._is_stopped
        if self._is_full:
            self._is_full = False
            self._protocol.release(self._protocol.FULL)
            if self.on_empty is not None:
                self.on_empty()

    def stopProducing(self) -> None:  # noqa: N802
        """Take note that the connection is lost."""
        self.stop()
        self.on_empty = None

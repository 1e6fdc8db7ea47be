"""The sender of events on our server: it writes them straight to the socket, and reports when that is full."""

import asyncio
import socket
from typing import Any, Protocol

from ...delivery.chunks import Chunk
from ...delivery.connection import FlowControl
from ...protocol.codes import CloseCode
from ..sse.answer import LAST_ON_CONNECTION
from ..sse.encoding import Encoding
from .frame_writer import NO_ROOM
from .ws_protocol import PATIENCE_SECONDS, SEND_BUFFER_BYTES


class Exchange(Protocol):
    """What Daphne's request is to the writer: `progress.transports.daphne.http_protocol.BoundedRequest`."""

    channel: Any
    chunked: int

    def handle_reply(self, message: dict[str, Any], /) -> None:
        """Send an ASGI message."""

    def registerProducer(self, producer: Any, streaming: bool, /) -> None:  # noqa: N802
        """Have a producer told when the transport's buffer is full, and when it is empty again."""

    def unregisterProducer(self) -> None:  # noqa: N802
        """Tell it no more."""


class EventWriter:
    """Writes events to the socket of one request, behind the headers that Twisted writes.

    While Twisted's buffer is empty, they go to the socket at once; otherwise into the buffer, so nothing overtakes.
    As the request's push producer the writer is told when the buffer is full, and when it has become empty.

    Args:
        request: The request.
        encoding: What makes bytes of the frames.

    """

    __slots__ = ("_encoding", "_is_chunked", "_is_full", "_is_stopped", "_request", "_send", "_transport", "flow")

    def __init__(self, request: Exchange, encoding: Encoding) -> None:
        self.flow: FlowControl | None = None
        self._request = request
        self._encoding = encoding
        self._transport = request.channel.transport
        self._send = self._transport.socket.send
        self._is_chunked = False  # as HTTP/1.0 is not, which proxies may speak
        self._is_full = False
        self._is_stopped = False

    @property
    def is_writable(self) -> bool:
        """Whether there is room; always once the writer has stopped, since it drops what it is given."""
        return not self._is_full or self._is_stopped

    def begin(self, start: dict[str, Any], first: bytes) -> None:
        """Send the beginning of the answer, and limit what the kernel buffers for a slow watcher."""
        self._is_stopped = self._is_stopped or bool(self._transport.disconnected)
        if self._is_stopped:
            return
        self._transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if LAST_ON_CONNECTION in start["headers"]:
            self._request.channel.persistent = 0
        self._request.handle_reply(start)
        self._request.handle_reply({"type": "http.response.body", "body": first, "more_body": True})
        self._is_chunked = bool(self._request.chunked)
        self._request.registerProducer(self, True)

    def write(self, chunk: Chunk) -> None:
        """Write events, in order."""
        events = self._encoding.events(chunk, chunked=self._is_chunked)
        transport = self._transport
        if not (self._is_stopped or transport._tempDataLen or len(transport.dataBuffer) > transport.offset):
            try:
                sent = self._send(events)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    self.abort(CloseCode.RESYNC)
                    return
                sent = 0
            if sent == len(events):
                return
            events = events[sent:]
        if not self._is_stopped:
            transport.write(events)

    def close(self, code: CloseCode) -> None:
        """Complete the answer behind what was written; Twisted closes the connection of a stream then."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self._request.unregisterProducer()
        if not self._request.channel.persistent:  # for a client that reads nothing more
            asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._transport.abortConnection)
        self._request.handle_reply({"type": "http.response.body", "body": b"", "more_body": False})

    def abort(self, code: CloseCode) -> None:
        """Drop the connection, since a part of an event may be stuck in it; Daphne sends the application the end."""
        self._is_stopped = True
        self._transport.abortConnection()

    def stop(self) -> None:
        """Write nothing more, and make no more calls to `flow`."""
        self._is_stopped = True
        self.flow = None

    # Twisted's push producer

    def pauseProducing(self) -> None:  # noqa: N802
        """Pause the writing: Twisted's buffer is full."""
        if not self._is_full:
            self._is_full = True
            if self.flow is not None:
                self.flow.pause_writing()

    def resumeProducing(self) -> None:  # noqa: N802
        """Write on: Twisted's buffer is empty."""
        if self._is_full:
            self._is_full = False
            if self.flow is not None:
                self.flow.resume_writing()

    def stopProducing(self) -> None:  # noqa: N802
        """Stop: the connection is lost."""
        self.stop()

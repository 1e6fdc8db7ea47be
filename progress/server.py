"""Daphne, hardened for many watchers; started by ``manage.py serve``.

It adds to Daphne what the hub needs to serve thousands: a way to write a ready-made frame straight to a
socket, word of a socket that takes no more, a longer queue of new connections, and a shutdown that tells
each client to come back. An application that knows nothing of this runs as on any Daphne.

It reaches below the surface of Daphne, Autobahn and Twisted, so their versions are pinned in
requirements.txt, and ``tests/progress/test_server.py`` checks what it relies on.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from daphne.cli import CommandLineInterface
from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import defer, tcp

from progress.conf import conf

logger = logging.getLogger(__name__)

APPLICATION = "progress_site.asgi:application"
EXTENSION = "progress.frames"  # in scope["extensions"]: the socket's `FrameWriter`
BUFFER_BYTES = 65_536  # what may wait in Twisted's buffer before the outbox begins
CLOSE_SPACING_SECONDS = 0.002  # between two goodbyes; fewer clients are gone sooner


class FrameWriter:
    """Writes ready-made WebSocket frames to one socket, between those that Autobahn writes itself.

    While nothing waits in Twisted's buffer, a frame goes to the socket at once, else behind what waits, so
    frames are never mixed. As the transport's pull producer the writer is called whenever that buffer has
    become empty; the protocol below tells it whenever Autobahn puts something in.
    """

    __slots__ = ("_is_direct", "_is_full", "_is_stopped", "_send", "_transport", "on_empty")

    def __init__(self, protocol: "FrameProtocol") -> None:
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
            except BlockingIOError:
                sent = 0
            except OSError:
                return True  # the connection is lost; the reactor finds that out as well, and tells the consumer
            if sent == len(frames):
                return True
            frames = frames[sent:]
        return self._buffer(frames)

    def _buffer(self, data: bytes) -> bool:
        if self._is_stopped:
            return True
        self._is_direct = False
        self._transport.write(data)
        waiting = len(self._transport.dataBuffer) - self._transport.offset + self._transport._tempDataLen
        if waiting > BUFFER_BYTES and not self._is_full:
            self._is_full = True
            self._transport.pauseProducing()  # nor is more read from a client that does not read itself
        return not self._is_full

    def wait(self) -> None:
        """Take note that something else is in the buffer."""
        self._is_direct = False

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
            self._transport.resumeProducing()
            if self.on_empty is not None:
                self.on_empty()

    def stopProducing(self) -> None:  # noqa: N802
        """Take note that the connection is lost."""
        self.stop()
        self.on_empty = None


class FrameProtocol(WebSocketProtocol):
    """Daphne's WebSocket protocol, which tells the frame writer what goes past it."""

    frame_writer: FrameWriter | None = None

    def sendData(self, *args: Any, **options: Any) -> None:  # noqa: N802
        """Send what Autobahn has made: a pong, a close, the answer to the handshake."""
        if self.frame_writer is not None:
            self.frame_writer.wait()
        super().sendData(*args, **options)

    def sendCloseFrame(self, *args: Any, **options: Any) -> None:  # noqa: N802
        """Begin or answer the closing handshake, after which no frame may follow."""
        if self.frame_writer is not None:
            self.frame_writer.stop()
        super().sendCloseFrame(*args, **options)


class ProgressServer(Server):
    """Daphne's server with the frame writer, a backlog and a drain."""

    def __init__(self, *args: Any, **options: Any) -> None:
        endpoints = [_with_backlog(endpoint) for endpoint in options.pop("endpoints", None) or ()]
        super().__init__(*args, endpoints=endpoints, ready_callable=self._set_options, **options)

    def _set_options(self) -> None:
        self.ws_factory.protocol = FrameProtocol
        # A client that breaks the WebSocket protocol is told so; Autobahn's default is to cut the line.
        self.ws_factory.setProtocolOptions(failByDrop=False)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Run the application for a connection, with the frame writer in a WebSocket's scope."""
        # Not with TLS, where what a socket takes is not what a frame is made of.
        if scope["type"] == "websocket" and type(protocol.transport) is tcp.Server:
            scope["extensions"] = {EXTENSION: FrameWriter(protocol)}
        return super().create_application(protocol, scope)

    def kill_all_applications(self) -> Any:
        """Drain before the reactor stops: no new connections, then a goodbye to each client.

        Daphne's own method fails on a connection whose application is done, and then nobody is told.
        """
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._drain()))

    async def _drain(self) -> None:
        for listener in self.listeners:
            listener.addCallback(lambda port: port.stopListening())
        running = [
            details["application_instance"]
            for details in self.connections.values()
            if "application_instance" in details and not details["application_instance"].done()
        ]
        logger.info("Saying goodbye to %d clients", len(running))
        spacing = min(CLOSE_SPACING_SECONDS, conf.DRAIN_SECONDS / max(len(running), 1))
        began = asyncio.get_running_loop().time()
        for number, application in enumerate(running):
            application.cancel()
            await asyncio.sleep(began + number * spacing - asyncio.get_running_loop().time())
        await asyncio.gather(*running, return_exceptions=True)


def _with_backlog(endpoint: str) -> str:
    """Return a TCP endpoint with a queue for many clients that come back at once; Twisted's default is 50."""
    if not endpoint.startswith("tcp:") or "backlog=" in endpoint:
        return endpoint
    return f"{endpoint}:backlog={conf.ACCEPT_BACKLOG}"


class ServeCommandLine(CommandLineInterface):
    """Daphne's command line with our server and defaults; every flag of Daphne's works."""

    description = "Serve the site with Daphne: pages and WebSockets."
    server_class = ProgressServer

    def __init__(self) -> None:
        super().__init__()
        self.parser.prog = "manage.py serve"
        self.parser.set_defaults(
            websocket_max_message_size=conf.MAX_MESSAGE_BYTES,
            websocket_max_frame_size=conf.MAX_MESSAGE_BYTES,
            websocket_timeout=-1,  # Daphne would close every socket after a day
        )
        for action in self.parser._actions:
            if action.dest == "application":
                action.nargs = "?"
                action.default = APPLICATION

"""Daphne, hardened for many watchers; started by ``manage.py serve``.

It adds to Daphne what the hub needs to serve thousands: a way to write a ready-made frame straight to a
socket, word of a socket that takes no more, a longer queue of new connections, patience with a slow client
that is being closed, and a shutdown that takes nothing new and tells each client to come back. An
application that knows nothing of this runs as on any Daphne.

It reaches below the surface of Daphne, Autobahn and Twisted, so their versions are pinned in
requirements.txt, and ``tests/progress/test_server.py`` checks what it relies on.
"""

import asyncio
import contextlib
import errno
import logging
from collections.abc import Callable
from typing import Any

from autobahn.websocket.types import ConnectionDeny
from daphne.cli import CommandLineInterface
from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import defer, tcp, unix

from progress.conf import conf

logger = logging.getLogger(__name__)

APPLICATION = "progress_site.asgi:application"
EXTENSION = "progress.frames"  # in scope["extensions"]: the socket's `FrameWriter`
BUFFER_BYTES = 65_536  # what may wait in Twisted's buffer before the outbox begins
CLOSE_SPACING_SECONDS = 0.02  # between two goodbyes, at most: a few clients are gone soon
CLOSE_HANDSHAKE_SECONDS = 10.0  # to read what is under way, and the code behind it; after Autobahn's 1 s it is cut off
NO_ROOM = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS}  # the kernel takes nothing now, as Twisted has it
STOPPING = "The server is stopping"


class FrameWriter:
    """Writes ready-made WebSocket frames to one socket, between those that Autobahn writes itself.

    While nothing waits in Twisted's buffer, a frame goes to the socket at once, else behind what waits, so
    frames are never mixed. As the transport's pull producer the writer is called whenever that buffer has
    become empty; the protocol below tells it whenever Autobahn puts something in.

    For TCP and Unix sockets. With TLS there is none, since what such a socket takes is not what a frame is made
    of: frames go through Autobahn then, which queues for a client that does not read whatever it is given. Let a
    proxy do the TLS.
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
            except OSError as error:
                if error.errno not in NO_ROOM:
                    return self._fail()
                sent = 0
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

    def _fail(self) -> bool:
        """Give the connection up, since its frames would no longer be whole; the consumer hears of it from Daphne."""
        self.stop()
        self._transport.abortConnection()
        return True

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
    maxMessagePayloadSize: int  # noqa: N815  (Autobahn's own)

    def onConnect(self, request: Any) -> Any:  # noqa: N802
        """Begin a connection, but for one that asks for it when the server is stopping."""
        handshake = super().onConnect(request)
        if self.server.is_draining:
            handshake.errback(ConnectionDeny(503, STOPPING))
        return handshake

    def onFrameData(self, payload: bytes) -> Any:  # noqa: N802
        """Take a part of a frame, but not of a client that broke the protocol: it could be of any length."""
        return None if self.failedByMe else super().onFrameData(payload)

    def sendMessage(self, *args: Any, **options: Any) -> None:  # noqa: N802
        """Send a message of any length; Autobahn holds us to the limit that is meant for the client."""
        limit, self.maxMessagePayloadSize = self.maxMessagePayloadSize, 0
        try:
            super().sendMessage(*args, **options)
        finally:
            self.maxMessagePayloadSize = limit

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
        self.is_draining = False
        self._ports: list[Any] = []

    def _set_options(self) -> None:
        self.ws_factory.protocol = FrameProtocol
        self.ws_factory.setProtocolOptions(
            failByDrop=False,  # a client that breaks the WebSocket protocol is told so; by default the line is cut
            closeHandshakeTimeout=CLOSE_HANDSHAKE_SECONDS,
        )

    def listen_success(self, port: Any) -> None:
        """Keep a port that is listened on."""
        super().listen_success(port)
        self._ports.append(port)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Run the application for a connection, with the frame writer in a WebSocket's scope."""
        if self.is_draining:
            return _refused(protocol, scope)
        if scope["type"] == "websocket" and type(protocol.transport) in (tcp.Server, unix.Server):
            scope["extensions"] = {EXTENSION: FrameWriter(protocol)}
        return super().create_application(protocol, scope)

    def kill_all_applications(self) -> Any:
        """Drain before the reactor stops: nothing new, a goodbye to each client, and the end of what still runs.

        Daphne's own method fails on a connection whose application is done, and then nobody is told.
        """
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._drain()))

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + conf.DRAIN_SECONDS
        # From here on no application begins: one that runs when the reactor stops can end the process with SIGSEGV.
        self.is_draining = True
        closing = [defer.maybeDeferred(port.stopListening) for port in self._ports]
        await defer.DeferredList(closing, consumeErrors=True).asFuture(loop)
        await self._say_goodbye()
        with contextlib.suppress(TimeoutError):  # after which what else runs is cancelled, such as a page being made
            await asyncio.wait_for(asyncio.gather(*self._running(), return_exceptions=True), end - loop.time())

    async def _say_goodbye(self) -> None:
        """Cancel each WebSocket's application, which closes it with a code, one after the other."""
        sockets = self._running(WebSocketProtocol)
        logger.info("Saying goodbye to %d clients", len(sockets))
        loop = asyncio.get_running_loop()
        began, spacing = loop.time(), _spacing(len(sockets), conf.DRAIN_SECONDS)
        for number, application in enumerate(sockets):
            await asyncio.sleep(began + number * spacing - loop.time())
            application.cancel()
        await asyncio.gather(*sockets, return_exceptions=True)

    def _running(self, kind: type = object) -> list[Any]:
        """Return the applications that run for one kind of protocol."""
        of_kind = [details for protocol, details in self.connections.items() if isinstance(protocol, kind)]
        applications = [details["application_instance"] for details in of_kind if "application_instance" in details]
        return [application for application in applications if not application.done()]


def _refused(protocol: Any, scope: dict[str, Any]) -> Any:
    """Answer a page's request; a WebSocket's is answered in `FrameProtocol.onConnect`, and needs a queue until then."""
    if scope["type"] == "websocket":
        return asyncio.Queue()
    return protocol.basic_error(503, b"Service Unavailable", STOPPING)


def _spacing(clients: int, seconds: float) -> float:
    """Return the seconds between two goodbyes: many are spread over all the time there is."""
    return min(CLOSE_SPACING_SECONDS, seconds / max(clients, 1))


def _with_backlog(endpoint: str) -> str:
    """Return an endpoint with a queue for many clients that come back at once; Twisted's default is 50."""
    if not endpoint.startswith(("tcp:", "unix:", "ssl:")) or "backlog=" in endpoint:
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

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
from twisted.internet import defer, tcp

from progress.conf import conf

logger = logging.getLogger(__name__)

APPLICATION = "progress_site.asgi:application"
EXTENSION = "progress.frames"  # in scope["extensions"]: the socket's `FrameWriter`
CLOSE_SPACING_SECONDS = 0.002  # between two goodbyes; fewer clients are gone sooner


class FrameWriter:
    """Writes ready-made WebSocket frames to one socket, between those that Autobahn writes itself.

    A frame goes to the socket at once while nothing waits in Twisted's buffer, else behind what waits,
    so frames are never mixed. As the transport's producer it hears when the buffer is full (over 64 KiB)
    and when it is empty again.
    """

    __slots__ = ("_protocol", "_send", "_transport", "is_full", "on_empty")

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        self._send = protocol.transport.socket.send
        self.is_full = False
        self.on_empty: Callable[[], None] | None = None
        # Until now this was the HTTP channel that upgraded the connection, which is over.
        self._transport.unregisterProducer()
        self._transport.registerProducer(self, True)

    def write(self, frame: bytes) -> bool:
        """Write one or more whole frames; return whether the socket takes more."""
        transport = self._transport
        if self._protocol.state != self._protocol.STATE_OPEN:
            return True  # the closing handshake has begun: nothing may follow
        if transport.dataBuffer or transport._tempDataLen:
            transport.write(frame)
            return not self.is_full
        try:
            sent = self._send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            return True  # the connection is lost; the reactor finds that out as well, and tells the consumer
        if sent == len(frame):
            return True
        transport.write(frame[sent:])
        return not self.is_full

    # Twisted's push producer

    def pauseProducing(self) -> None:  # noqa: N802
        """Take note that the buffer is full; nor is more read from a client that does not read itself."""
        self.is_full = True
        self._transport.pauseProducing()

    def resumeProducing(self) -> None:  # noqa: N802
        """Take note that the buffer is empty."""
        self.is_full = False
        self._transport.resumeProducing()
        if self.on_empty is not None:
            self.on_empty()

    def stopProducing(self) -> None:  # noqa: N802
        """Take note that the connection is lost."""
        self.on_empty = None


class ProgressServer(Server):
    """Daphne's server with the frame writer, a backlog and a drain."""

    def __init__(self, *args: Any, **options: Any) -> None:
        endpoints = [_with_backlog(endpoint) for endpoint in options.pop("endpoints", None) or ()]
        super().__init__(*args, endpoints=endpoints, ready_callable=self._set_options, **options)

    def _set_options(self) -> None:
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

"""Daphne's server with a way to write frames, a longer queue of new connections, limits, and a drain."""

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from daphne.cli import CommandLineInterface
from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol
from django.conf import settings
from twisted.internet import defer, interfaces, tcp, unix

from ...conf import conf
from ...identity.limits import Allowances, MessageRate, network_of
from ..asgi import SENDER
from .frame_writer import FrameWriter
from .http_protocol import BoundedHTTPFactory
from .ws_protocol import STOPPING, FrameProtocol, Inbox, Turn

logger = logging.getLogger(__name__)

CLOSE_SPACING_SECONDS = 0.02  # between two goodbyes, at most: a few clients are gone soon
BURST_SECONDS = 2.0  # of what a client may send, at once


class ProgressServer(Server):
    """Serves an application."""

    def __init__(self, *args: Any, **options: Any) -> None:
        endpoints = [_completed(endpoint) for endpoint in options.pop("endpoints", None) or ()]
        super().__init__(*args, endpoints=endpoints, ready_callable=self._set_options, **options)
        self.is_draining = False
        self._ports: list[Any] = []
        self._allowances = Allowances(BURST_SECONDS)
        self._turns: WeakValueDictionary[str, Turn] = WeakValueDictionary()

    def _set_options(self) -> None:
        # What is there by now stays. Each full collection would look through all of it, and every watcher would wait
        # for that: 90 ms, several times a second while strangers come and go.
        gc.collect()
        gc.freeze()
        self.http_factory.__class__ = BoundedHTTPFactory  # Daphne has made and handed it on already
        self.ws_factory.protocol = FrameProtocol
        self.ws_factory.setProtocolOptions(
            failByDrop=False,  # a client that breaks the WebSocket protocol is told so; by default the line is cut
            allowNullOrigin=True,  # as Daphne has it, and this call would undo: whom to let in is the application's
        )

    def allowance_of(self, address: str | None) -> MessageRate:
        """Return what a client may send; one whose address is not known is told from no other, so it has its own."""
        rate, now = conf.MAX_CLIENT_MESSAGES_PER_SECOND, time.monotonic()
        if address is None:
            return MessageRate(rate, rate * BURST_SECONDS, now)
        return self._allowances.of(network_of(address), rate, now)

    def turn_of(self, address: str | None) -> Turn:
        """Return what the sockets of a client share of a turn of the event loop."""
        return Turn() if address is None else self._turns.setdefault(network_of(address), Turn())

    def listen_success(self, port: Any) -> None:
        """Keep a port that is listened on."""
        super().listen_success(port)
        port.doRead = partial(_accept_one, port, port.doRead)
        self._ports.append(port)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Run the application for a connection, with a frame writer in a WebSocket's scope."""
        if self.is_draining:
            return _refused(protocol, scope)
        inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope["asgi"] = {"version": "3.0"}
        if scope["type"] == "websocket":
            inbox = Inbox(protocol)
            scope["scheme"] = "wss" if _is_secure(protocol) else "ws"  # which Daphne leaves out
            if type(protocol.transport) in (tcp.Server, unix.Server):
                scope["extensions"] = {SENDER: FrameWriter(protocol)}
        running = self.application(scope=scope, receive=inbox.get, send=partial(self.handle_reply, protocol))
        application = self.connections[protocol]["application_instance"] = asyncio.ensure_future(running)
        application.add_done_callback(partial(self._forget, protocol))
        return inbox

    def protocol_disconnected(self, protocol: Any) -> None:
        """Forget a connection that is over, unless its application is not; Daphne would look for such once a second."""
        if protocol in self.connections:
            super().protocol_disconnected(protocol)
            if "application_instance" not in self.connections[protocol]:
                del self.connections[protocol]

    def _forget(self, protocol: Any, application: "asyncio.Task[None]") -> None:
        """Forget a connection that is over, now that its application is as well; of one that failed Daphne reports."""
        has_ended_well = not application.cancelled() and application.exception() is None
        if has_ended_well and "disconnected" in self.connections.get(protocol, ()):
            del self.connections[protocol]

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


def _accept_one(port: Any, accept: Callable[[], None]) -> None:
    """Accept one connection in a turn: Twisted takes all that wait, and watchers would wait for their handshakes."""
    port.numberAccepts = 1
    accept()


def _refused(protocol: Any, scope: dict[str, Any]) -> Any:
    """Answer a page's request; a WebSocket's is answered in `FrameProtocol.onConnect`, and needs a queue until then."""
    if scope["type"] == "websocket":
        return asyncio.Queue()
    return protocol.basic_error(503, b"Service Unavailable", STOPPING)


def _is_secure(protocol: Any) -> bool:
    """Tell whether a client uses TLS, with us or, as far as it is believed, with the proxy before us."""
    if interfaces.ISSLTransport.providedBy(protocol.transport):
        return True
    return getattr(protocol, "client_scheme", None) == "https"  # there where the headers of a proxy are read


def _spacing(clients: int, seconds: float) -> float:
    """Return the seconds between two goodbyes: many are spread over all the time there is."""
    return min(CLOSE_SPACING_SECONDS, seconds / max(clients, 1))


def _completed(endpoint: str) -> str:
    """Return an endpoint with what Twisted would have too large or too small, unless it says so itself.

    The queue is for many clients that come back at once; Twisted's has 50. A Unix socket that everybody may open would
    let every user of the machine forge a proxy's headers.
    """
    kind = endpoint.partition(":")[0]
    if kind in ("tcp", "tcp6", "unix", "ssl") and ":backlog=" not in endpoint:
        endpoint += f":backlog={conf.ACCEPT_BACKLOG}"
    if kind == "unix" and ":mode=" not in endpoint:
        endpoint += f":mode={conf.UNIX_SOCKET_MODE}"
    return endpoint


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
                action.default = ":".join(settings.ASGI_APPLICATION.rsplit(".", 1))

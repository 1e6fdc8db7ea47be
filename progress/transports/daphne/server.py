"""Daphne's server with a frame writer, a longer accept queue, limits for each client, and a drain on shutdown."""

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
from ...identity.refusals import Refusals
from ...polling import waits
from ...protocol.codes import ErrorCode
from ...protocol.exceptions import Refused
from ...source.store import housekeeping
from ..asgi import SENDER
from ..sse.answer import BODY
from ..sse.encoding import Encoding
from .event_writer import EventWriter
from .frame_writer import FrameWriter
from .http_protocol import BoundedHTTPFactory
from .service_manager import ServiceManager
from .ws_protocol import STOPPING, FrameProtocol, Inbox, Turn

logger = logging.getLogger(__name__)

CLOSE_SPACING_SECONDS = 0.02  # between two goodbyes at most, so that a few clients are closed soon
# Collections of younger objects before a full one, which goes through all that connections consist of and stops the
# event loop, for 0.4 s with 5,000 of them: five times as many as usual. With many more, what only a full one finds
# takes too much memory, as the fuzzer shows.
FULL_COLLECTIONS = 50
BURST_SECONDS = 2.0  # a client may send at once what it may send in this time


class ProgressServer(Server):
    """Serves an ASGI application."""

    def __init__(self, *args: Any, **options: Any) -> None:
        endpoints = [_completed(endpoint) for endpoint in options.pop("endpoints", None) or ()]
        super().__init__(*args, endpoints=endpoints, ready_callable=self._set_options, **options)
        self.is_draining = False
        self._manager = ServiceManager()
        self._ports: list[Any] = []
        self._allowances = Allowances()
        self._handshakes = Allowances()
        self.refusals = Refusals(logger)
        self._turns: WeakValueDictionary[str, Turn] = WeakValueDictionary()
        self._housekeeper = housekeeping.Housekeeper()

    def _set_options(self) -> None:
        # What is loaded by now stays for good. Each full garbage collection would go through it and stop the event loop
        # for 90 ms, several times a second while many clients come and go.
        gc.collect()
        gc.freeze()
        youngest, younger, full = gc.get_threshold()
        gc.set_threshold(youngest, younger, max(full, FULL_COLLECTIONS))
        self.http_factory.__class__ = BoundedHTTPFactory  # Daphne has already made it and passed it on
        self.ws_factory.protocol = FrameProtocol
        self.ws_factory.setProtocolOptions(
            failByDrop=False,  # a client that breaks the WebSocket protocol gets a close code; by default it is cut off
            allowNullOrigin=True,  # as in Daphne, which this call would undo: the application checks the origin
        )
        asyncio.get_event_loop().call_soon(self._manager.ready)  # once it turns; the ports are open already

    def allowance_of(self, address: str | None) -> MessageRate:
        """Return what a client may send: shared by its network, or its own if its address is unknown."""
        rate, now = conf.MAX_CLIENT_MESSAGES_PER_SECOND, time.monotonic()
        burst = rate * BURST_SECONDS
        if address is None:
            return MessageRate(rate, burst, now)
        return self._allowances.of(network_of(address), rate, burst, now)

    def admits_handshake(self, address: str | None) -> bool:
        """Count a handshake; return whether its network may open another WebSocket now."""
        if address is None:  # of a proxy on a Unix socket that does not say
            return True
        rate, burst = conf.MAX_HANDSHAKES_PER_SECOND, conf.MAX_HANDSHAKES_BURST
        is_allowed = self._handshakes.of(network_of(address), rate, burst, time.monotonic()).allows(time.monotonic())
        if not is_allowed:
            self.refusals.note("too many handshakes", f"{address} was refused: it opens too many connections")
        return is_allowed

    def turn_of(self, address: str | None) -> Turn:
        """Return the turn that the sockets of a client share."""
        return Turn() if address is None else self._turns.setdefault(network_of(address), Turn())

    def listen_success(self, port: Any) -> None:
        """Keep the port, to stop listening later; accept one connection at a time. The first starts housekeeping."""
        super().listen_success(port)
        if not self._ports:
            self._housekeeper.start()
        port.doRead = partial(_accept_one, port, port.doRead)
        self._ports.append(port)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Run the application for a connection; its scope has the writer of a WebSocket, or makes that of a stream."""
        if self.is_draining:
            return _refused(protocol, scope)
        inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope["asgi"] = {"version": "3.0"}
        if scope["type"] == "websocket":
            inbox = Inbox(protocol)
            scope["scheme"] = "wss" if _is_secure(protocol) else "ws"  # which Daphne leaves out
            if type(protocol.transport) in (tcp.Server, unix.Server):
                scope["extensions"] = {SENDER: FrameWriter(protocol)}
        else:
            scope["extensions"] = {BODY: partial(self._event_writer, protocol)}
        running = self.application(scope=scope, receive=inbox.get, send=partial(self.handle_reply, protocol))
        application = self.connections[protocol]["application_instance"] = asyncio.ensure_future(running)
        application.add_done_callback(partial(self._forget, protocol))
        return inbox

    def _event_writer(self, request: Any, encoding: Encoding) -> EventWriter | None:
        """Return the writer of a stream; None with TLS, as for a WebSocket.

        Raises:
            Refused: Too many connections were opened from the client's address.

        """
        if not self.admits_handshake(request.client_addr[0] if request.client_addr else None):
            raise Refused(ErrorCode.TOO_MANY_CONNECTIONS, "Too many connections were opened from this address")
        request.is_stream = True
        is_plain = request.channel is not None and type(request.channel.transport) in (tcp.Server, unix.Server)
        return EventWriter(request, encoding) if is_plain else None

    def protocol_disconnected(self, protocol: Any) -> None:
        """Forget a connection once it and its application have ended; Daphne looks for those only once a second."""
        if protocol in self.connections:
            super().protocol_disconnected(protocol)
            if "application_instance" not in self.connections[protocol]:
                del self.connections[protocol]

    def _forget(self, protocol: Any, application: "asyncio.Task[None]") -> None:
        """Forget a connection whose application has ended after it; one that failed is left for Daphne to log."""
        has_ended_well = not application.cancelled() and application.exception() is None
        if has_ended_well and "disconnected" in self.connections.get(protocol, ()):
            del self.connections[protocol]

    def kill_all_applications(self) -> Any:
        """Drain before the reactor stops: accept nothing new, close each watcher, and let what still runs end.

        Daphne's own method fails on a connection whose application is done, and then closes no other.
        """
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._drain()))

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + conf.DRAIN_SECONDS
        # From here on no application begins: one that runs when the reactor stops can end the process with SIGSEGV.
        self.is_draining = True
        self._manager.stopping()
        self._housekeeper.stop()
        waits.current().drain()
        closing = [defer.maybeDeferred(port.stopListening) for port in self._ports]
        await defer.DeferredList(closing, consumeErrors=True).asFuture(loop)
        await self._say_goodbye()
        with contextlib.suppress(TimeoutError):  # after which what still runs, such as a page, is cancelled
            await asyncio.wait_for(asyncio.gather(*self._running(), return_exceptions=True), end - loop.time())
        await asyncio.to_thread(self._housekeeper.join)  # it has had the time meanwhile

    async def _say_goodbye(self) -> None:
        """Cancel the application of each WebSocket and stream, which closes it, one after the other."""
        watchers = self._running(_is_watcher)
        logger.info("Saying goodbye to %d clients", len(watchers))
        loop = asyncio.get_running_loop()
        began, spacing = loop.time(), _spacing(len(watchers), conf.DRAIN_SECONDS)
        for number, application in enumerate(watchers):
            await asyncio.sleep(began + number * spacing - loop.time())
            application.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)

    def _running(self, is_wanted: Callable[[Any], bool] = lambda _: True) -> list[Any]:
        """Return the applications that are running, for some of the connections."""
        of_kind = [details for protocol, details in self.connections.items() if is_wanted(protocol)]
        applications = [details["application_instance"] for details in of_kind if "application_instance" in details]
        return [application for application in applications if not application.done()]


def _is_watcher(protocol: Any) -> bool:
    """Return whether a connection stays until somebody ends it."""
    return isinstance(protocol, WebSocketProtocol) or getattr(protocol, "is_stream", False)


def _accept_one(port: Any, accept: Callable[[], None]) -> None:
    """Accept one connection in a turn: Twisted accepts all that wait, and watchers would wait for their handshakes."""
    port.numberAccepts = 1
    accept()


def _refused(protocol: Any, scope: dict[str, Any]) -> Any:
    """Answer a page's request with 503; `FrameProtocol.onConnect` refuses a WebSocket, which needs a queue here."""
    if scope["type"] == "websocket":
        return asyncio.Queue()
    return protocol.basic_error(503, b"Service Unavailable", STOPPING)


def _is_secure(protocol: Any) -> bool:
    """Return whether a client uses TLS, with us or, according to the forwarded headers, with the proxy."""
    if interfaces.ISSLTransport.providedBy(protocol.transport):
        return True
    return getattr(protocol, "client_scheme", None) == "https"  # set only with --proxy-headers


def _spacing(clients: int, seconds: float) -> float:
    """Return the seconds between two goodbyes, such that all fit into the time."""
    return min(CLOSE_SPACING_SECONDS, seconds / max(clients, 1))


def _completed(endpoint: str) -> str:
    """Return an endpoint with our accept queue and mode of a Unix socket, unless it gives its own.

    The queue is for many clients that reconnect at once; Twisted's has 50. A Unix socket that everybody may open, as
    Twisted's, would let every user of the machine forge a proxy's headers.
    """
    kind = endpoint.partition(":")[0]
    if kind in ("tcp", "tcp6", "unix", "ssl") and ":backlog=" not in endpoint:
        endpoint += f":backlog={conf.ACCEPT_BACKLOG}"
    if kind == "unix" and ":mode=" not in endpoint:
        endpoint += f":mode={conf.UNIX_SOCKET_MODE}"
    return endpoint


class ServeCommandLine(CommandLineInterface):
    """Daphne's command line with our server and defaults; every flag of Daphne's works."""

    description = "Serve the site with Daphne: pages and WebSockets. One server at a time also does the housekeeping."
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

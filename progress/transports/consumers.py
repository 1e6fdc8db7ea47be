"""The Channels consumer: it carries a session over a WebSocket."""

import asyncio
import logging
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from ..delivery.connection import Connection
from ..identity.auth import is_foreign, request_of
from ..protocol import commands
from ..protocol.codes import CloseCode
from ..protocol.commands import Subscribe
from ..protocol.position import Position
from .asgi import sender_of
from .session import Session, refusals

logger = logging.getLogger(__name__)

GOODBYE_SECONDS = 0.1  # for the close frame to leave before the server cuts the connection


class ProgressConsumer(AsyncJsonWebsocketConsumer):
    """Watches the job that the URL names, and those that the client asks for."""

    # The consumer has no channel of the channel layer, which would cost a subscription in Redis for each socket; the
    # hub has one for the process.

    session: Session
    _is_accepted = False

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve one socket. A server that shuts down cancels this; the client then gets the close code to reconnect by.

        Channels' own loop would take another task for each socket, which is 3.6 KiB, and half as much time again for
        each message (``python -m benchmarks consumer``).
        """
        self.scope, self.base_send = scope, send
        connection = Connection(sender_of(scope, send))
        self.session = Session(connection, (scope.get("client") or ["unknown"])[0])
        try:
            while True:
                await self.dispatch(await receive())
                await self.session.wait_for_room()
        except StopConsumer:
            return
        except asyncio.CancelledError:
            if self._is_accepted:
                connection.close(CloseCode.GOING_AWAY)
                await asyncio.sleep(GOODBYE_SECONDS)
            raise
        finally:
            self.session.end()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Handle a message of the server.

        Channels' own dispatch enters the process's only database thread before each message: that takes half as much
        time again, and waits for whatever occupies the thread (``python -m benchmarks consumer``).
        """
        match message["type"]:
            case "websocket.connect":
                await self.connect()
            case "websocket.receive":
                await self.receive(message.get("text"), message.get("bytes"))
            case "websocket.disconnect":
                await self.disconnect(message["code"])
                raise StopConsumer

    async def connect(self) -> None:
        """Accept, then let the session identify the client: the database must not delay the handshake."""
        request = request_of(self.scope)
        if is_foreign(request):
            origin = request.META.get("HTTP_ORIGIN")
            refusals.note("foreign origin", f"A page of another site was refused: Origin {origin!r:.100}")
            await self.close()  # before it is accepted: HTTP 403
            return
        await self.accept()
        self._is_accepted = True
        job_id = self.scope["url_route"]["kwargs"].get("job_id")
        self.session.begin(request, None if job_id is None else partial(self._subscriptions_to, job_id))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **_: Any) -> None:
        """Pass a message to the session; not by `receive_json`: size and rate are checked before JSON is decoded."""
        self.session.receive(text_data, bytes_data)

    async def disconnect(self, code: int) -> None:
        """Log it; `__call__` ends the session in any case."""
        logger.debug("%s disconnected (%s)", self.session, code)

    def _subscriptions_to(self, job_id: str) -> list[Subscribe]:
        """Return the subscription that the URL asks for: to a job, from a position if the query gives one.

        Raises:
            Refused: The query's position is malformed.

        """
        return [Subscribe(job_id, self._offered_position())]

    def _offered_position(self) -> Position | None:
        query = parse_qs(self.scope.get("query_string", b"").decode("latin1"))
        if "epoch" not in query or "seq" not in query:
            return None
        seq = query["seq"][0]
        # Longer numbers are not positions; int() is not tried on them, since it takes quadratic time.
        return commands.position(query["epoch"][0], int(seq) if seq.isdecimal() and len(seq) < 20 else None)

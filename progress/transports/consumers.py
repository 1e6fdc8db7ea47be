"""What carries a session over a WebSocket: Channels' consumer."""

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
from .session import Session

logger = logging.getLogger(__name__)

GOODBYE_SECONDS = 0.1  # for the close frame to leave before the server cuts the connection


class ProgressConsumer(AsyncJsonWebsocketConsumer):
    """Watches the job that the URL names, and those that the client asks for."""

    # There is no channel of the channel layer here: the hub has the process's one, since one for each
    # socket would cost a subscription in Redis.

    session: Session
    _is_accepted = False

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve one socket. When the server shuts down it cancels this, and the client is asked to come back.

        Channels' own loop would take a task more for each socket, which is 3.6 KiB, and 11 µs more for each message
        (``python -m benchmarks consumer``).
        """
        self.scope, self.base_send = scope, send
        connection = Connection(sender_of(scope, send))
        self.session = Session(connection, (scope.get("client") or ["unknown"])[0])
        try:
            while True:
                await self.dispatch(await receive())
                await self.session.room()
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

        Channels' own dispatch visits the process's one database thread before each message: 70 µs more, and behind
        whatever occupies it (``python -m benchmarks consumer``).
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
        """Accept first, then ask who it is and what they want: a handshake may not take long."""
        request = request_of(self.scope)
        if is_foreign(request):
            logger.warning("A page of another site was refused: Origin %.100r", request.META.get("HTTP_ORIGIN"))
            await self.close()  # before it is accepted: HTTP 403
            return
        await self.accept()
        self._is_accepted = True
        job_id = self.scope["url_route"]["kwargs"].get("job_id")
        self.session.begin(request, None if job_id is None else partial(self._addressed, job_id))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **_: Any) -> None:
        """Take a message of the client; not `receive_json`, since size and rate are checked before it is decoded."""
        self.session.take(text_data, bytes_data)

    async def disconnect(self, code: int) -> None:
        """Say so, to who follows it; the session ends in any case."""
        logger.debug("%s disconnected (%s)", self.session, code)

    def _addressed(self, job_id: str) -> Subscribe:
        """Return what the URL asks for: a job, and a position that the client has.

        Raises:
            Refused: It has what is no position.

        """
        return Subscribe(job_id, self._offered_position())

    def _offered_position(self) -> Position | None:
        query = parse_qs(self.scope.get("query_string", b"").decode("latin1"))
        if "epoch" not in query or "seq" not in query:
            return None
        seq = query["seq"][0]
        # Longer numbers are no positions; the length is bounded since int() takes quadratic time.
        return commands.position(query["epoch"][0], int(seq) if seq.isdecimal() and len(seq) < 20 else None)

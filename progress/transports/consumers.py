"""The consumer: a thin shell between one WebSocket and the hub. It awaits, decides by tables, and sends."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth.models import AnonymousUser
from django.db import Error

from ..conf import conf
from ..delivery import hub, reads
from ..delivery.connection import FRAME_WRITER, Connection
from ..identity.auth import Visitor, admitted, has_credentials, identify, is_foreign, request_of
from ..identity.limits import MessageRate, Places, network_of
from ..protocol import commands, frames
from ..protocol.codes import CloseCode, ErrorCode
from ..protocol.commands import Auth, Ping, Subscribe, SubscribeFeed, SubscribeMany, Unsubscribe, UnsubscribeMany
from ..protocol.exceptions import Refused
from ..protocol.position import Position
from ..source.vocabulary import is_job_id

logger = logging.getLogger(__name__)


GOODBYE_SECONDS = 0.1  # for the close frame to leave before the server cuts the connection
WAITING_MESSAGES = 32  # while the database is asked for one; more are not read yet

Work = Callable[[], Awaitable[None]]

ANYBODY = Visitor(AnonymousUser())
places = Places()


class ProgressConsumer(AsyncJsonWebsocketConsumer):
    """Watches the job that the address names, and those that the client asks for."""

    # There is no channel of the channel layer here: the hub has the process's one, since one for each
    # socket would cost a subscription in Redis.

    connection: Connection
    visitor: Visitor
    _is_accepted = False
    _client: str | None = None
    _expiry: asyncio.TimerHandle | None = None
    _working: asyncio.Task[None] | None = None
    _is_room: asyncio.Event | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve one socket. A server that shuts down cancels this: tell the client to come back."""
        self.connection = Connection(send, scope.get("extensions", {}).get(FRAME_WRITER))
        self.scope, self.base_send = scope, send
        self._waiting: list[tuple[Work, int]] = []  # with their bytes; an empty deque takes 0.6 KiB
        try:
            # Without a channel to listen to as well, this is all that the base class does, in a task less.
            while True:
                await self.dispatch(await receive())
                while self._is_much_waiting():
                    await self._worked()  # nothing more is taken meanwhile, so that the server reads no more
        except StopConsumer:
            return
        except asyncio.CancelledError:
            if self._is_accepted:
                self.connection.close(CloseCode.GOING_AWAY)
                await asyncio.sleep(GOODBYE_SECONDS)
            raise
        finally:
            self._forget()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Handle a message of the server; unlike the base class, without visits to the database thread."""
        match message["type"]:
            case "websocket.connect":
                await self.connect()
            case "websocket.receive":
                await self.receive(message.get("text"), message.get("bytes"))
            case "websocket.disconnect":
                await self.disconnect(message["code"])
                raise StopConsumer

    # Coming and going

    async def connect(self) -> None:
        """Accept first, then ask who it is and what they want: a handshake may not take long."""
        request = request_of(self.scope)
        if is_foreign(request):
            logger.warning("A page of another site was refused: Origin %.100r", request.META.get("HTTP_ORIGIN"))
            await self.close()  # before it is accepted: HTTP 403
            return
        await self.accept()
        self._is_accepted = True
        self._rate = MessageRate(conf.MAX_MESSAGES_PER_SECOND, conf.MAX_MESSAGES_BURST, time.monotonic())
        self._do(partial(self._welcome, request))

    async def _welcome(self, request: Any) -> None:
        job_id = self.scope["url_route"]["kwargs"].get("job_id")
        try:
            self.visitor = await reads.in_thread(identify, request) if has_credentials(request) else ANYBODY
        except Error as error:
            logger.warning("A visitor can't be identified: %s", error)
            raise Refused(ErrorCode.UNAVAILABLE, "The site can't be read now", close=CloseCode.RESYNC) from error
        self._take_place()
        hub.current().enter(self.connection)
        self._end_at(self.visitor.expires)
        logger.debug("%s connected", self._client)
        if job_id is not None:
            await self._watch_addressed(job_id)

    def _take_place(self) -> None:
        user, address = self.visitor.user, (self.scope.get("client") or ["unknown"])[0]
        client = f"user {user.pk}" if user.is_authenticated else f"address {network_of(address)}"
        if not places.take(client, conf.MAX_CONNECTIONS_PER_CLIENT):
            raise Refused(ErrorCode.TOO_MANY_CONNECTIONS, "Too many connections", close=CloseCode.TOO_MANY_CONNECTIONS)
        self._client = client

    async def _watch_addressed(self, job_id: str) -> None:
        """Watch the job of the address; without it the socket has no purpose."""
        try:
            await self._subscribe(Subscribe(job_id, self._offered_position()), is_addressed=True)
        except Refused as refused:
            closes = {ErrorCode.JOB_NOT_FOUND: CloseCode.JOB_NOT_FOUND, ErrorCode.UNAVAILABLE: CloseCode.RESYNC}
            refused.close = refused.close or closes.get(refused.code, CloseCode.INVALID_REQUEST)
            raise

    def _offered_position(self) -> Position | None:
        query = parse_qs(self.scope.get("query_string", b"").decode("latin1"))
        if "epoch" not in query or "seq" not in query:
            return None
        seq = query["seq"][0]
        # Longer numbers are no positions; the length is bounded since int() takes quadratic time.
        return commands.position(query["epoch"][0], int(seq) if seq.isdecimal() and len(seq) < 20 else None)

    async def disconnect(self, code: int) -> None:
        """Take note that the socket is gone."""
        logger.debug("%s disconnected (%s)", self._client, code)

    def _forget(self) -> None:
        """Leave no trace: not in the hub, not in the limits, no timer."""
        self.connection.lost()
        if self._working is not None:
            self._working.cancel()
        if self._expiry is not None:
            self._expiry.cancel()
        if self._client is not None:
            places.give_back(self._client)
            self._client = None
            hub.current().leave(self.connection)

    # Messages of the client

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **_: Any) -> None:
        """Take a frame of the client; a bad one gets an ``error`` frame.

        A ping is answered at once; all else is done in order, so that none waits in vain for the database.
        """
        if not self.connection.is_accepting:
            return  # closed, and this was under way
        try:
            self._check(text_data, bytes_data)
            command = commands.parse(text_data or "")
            if isinstance(command, Ping):
                self.connection.send(frames.pong())
            else:
                self._do(partial(self._handle, command), len(text_data or ""))
        except Refused as refused:
            self._refuse(refused)

    def _do(self, work: Work, size: int = 0) -> None:
        """Do one thing after another, in a task that is there while there is something to do."""
        self._waiting.append((work, size))
        if self._working is None:
            self._working = asyncio.ensure_future(self._work())

    async def _work(self) -> None:
        while self._waiting and self.connection.is_accepting:
            work, _ = self._waiting.pop(0)
            self._say_room()
            try:
                await work()
            except Refused as refused:
                self._refuse(refused)
            except Exception:
                logger.exception("%s can't be served", self._client or "A client")
                self.connection.close(CloseCode.RESYNC)
        self._working = None
        self._say_room()

    def _say_room(self) -> None:
        if self._is_room is not None:
            self._is_room.set()

    def _is_much_waiting(self) -> bool:
        """Tell whether as much waits as may, of a client that is still served."""
        if len(self._waiting) < 2 or not self.connection.is_accepting:
            return False
        size = sum(size for _, size in self._waiting)
        return size > conf.MAX_MESSAGE_BYTES or len(self._waiting) >= WAITING_MESSAGES

    async def _worked(self) -> None:
        """Wait until something is done of what waits."""
        self._is_room = asyncio.Event()
        await self._is_room.wait()
        self._is_room = None

    def _check(self, text: str | None, data: bytes | None) -> None:
        if not self._rate.allows(time.monotonic()):
            raise Refused(ErrorCode.TOO_MANY_MESSAGES, "Too many messages", close=CloseCode.TOO_MANY_MESSAGES)
        size = len(data or b"") if text is None else len(text.encode(errors="replace"))
        if size > conf.MAX_MESSAGE_BYTES:
            sentence = f"A message may have {conf.MAX_MESSAGE_BYTES:,} bytes"
            raise Refused(ErrorCode.MESSAGE_TOO_LARGE, sentence, close=CloseCode.INVALID_REQUEST)
        if text is None:
            raise commands.invalid("Binary frames carry nothing here; send JSON as text.")

    async def _handle(self, command: commands.Command) -> None:
        match command:
            case Subscribe():
                await self._subscribe(command)
            case SubscribeMany():
                await self._subscribe_many(command.jobs)
            case SubscribeFeed():
                await self._subscribe_feed(command)
            case Unsubscribe():
                self._unsubscribe(command)
            case UnsubscribeMany():
                for job_id in command.job_ids:
                    self._unsubscribe(Unsubscribe(job_id, is_feed=False))
            case Auth():
                await self._authenticate(command)

    async def _subscribe(self, command: Subscribe, *, is_addressed: bool = False) -> None:
        watched = self.connection.watched
        if len(watched) >= conf.MAX_SUBSCRIPTIONS and command.job_id not in watched:
            raise Refused(
                ErrorCode.TOO_MANY_SUBSCRIPTIONS,
                f"A socket may watch {conf.MAX_SUBSCRIPTIONS} jobs",
                subject=command.job_id if is_job_id(command.job_id) else None,
                close=CloseCode.TOO_MANY_SUBSCRIPTIONS,
            )
        await hub.current().subscribe(
            self.connection,
            self.visitor.user,
            command.job_id,
            command.since,
            logs=command.logs,
            is_addressed=is_addressed,
        )

    async def _subscribe_many(self, commands: Sequence[Subscribe]) -> None:
        """Answer each as if it had come alone; at the same time as many as there is room for in any case."""
        while commands and self.connection.is_accepting:
            room = max(1, conf.MAX_SUBSCRIPTIONS - len(self.connection.watched))
            together, commands = commands[:room], commands[room:]
            await asyncio.gather(*map(self._subscribe_or_refuse, together))

    async def _subscribe_or_refuse(self, command: Subscribe) -> None:
        try:
            await self._subscribe(command)
        except Refused as refused:
            self._refuse(refused)

    async def _subscribe_feed(self, command: SubscribeFeed) -> None:
        if command.feed == "mine" and not self.visitor.user.is_authenticated:
            raise Refused(ErrorCode.NOT_AUTHENTICATED, "Sign in to see your jobs", subject=command.feed)
        await hub.current().subscribe_feed(self.connection, self.visitor.user, command.feed)

    def _unsubscribe(self, command: Unsubscribe) -> None:
        if command.is_feed:
            hub.current().unfeed(self.connection, "mine" if command.subject == "mine" else "all")
        else:
            hub.current().unsubscribe(self.connection, command.subject)
        self.connection.send(frames.unsubscribed(command.subject[:64]))

    async def _authenticate(self, command: Auth) -> None:
        try:
            admission = await reads.in_thread(admitted, command.token)
        except Error as error:
            raise Refused(ErrorCode.UNAVAILABLE, "The token can't be checked now") from error
        self.visitor = Visitor(admission.user, admission.expires)
        self._end_at(admission.expires)
        self.connection.send(frames.authenticated(admission.expires))

    def _end_at(self, expires: datetime | None) -> None:
        """Close the socket when the token that opened it ends."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if expires is not None:
            seconds = (expires - datetime.now(UTC)).total_seconds()
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(seconds, self.connection.close, CloseCode.TOKEN_EXPIRED)

    def _refuse(self, refused: Refused) -> None:
        logger.info("%s was refused: %s", self._client or "A client", refused)
        self.connection.send(frames.error(refused))
        if refused.close is not None:
            self.connection.close(refused.close)

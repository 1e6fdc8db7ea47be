"""One watcher's session, whatever transport carries it: authentication, limits, and the client's messages."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db import Error

from ..broker.places import Places
from ..conf import conf
from ..delivery import hubs, reads
from ..delivery.connection import Connection
from ..identity.auth import has_credentials, identify, verify_token
from ..identity.identity import ANYBODY
from ..identity.limits import MessageRate, network_of
from ..identity.refusals import Refusals
from ..protocol import commands, frames
from ..protocol.codes import CloseCode, ErrorCode
from ..protocol.commands import Auth, Ping, Subscribe, SubscribeFeed, SubscribeMany, Unsubscribe, UnsubscribeMany
from ..protocol.exceptions import Refused
from ..protocol.frames import FeedName
from ..source.vocabulary import is_job_id
from .message_queue import MessageQueue, Work

logger = logging.getLogger(__name__)

refusals = Refusals(logger)


class Session:
    """One watcher, from `begin` to `end`; `receive` handles each message of the client.

    Args:
        connection: Where its frames go.
        address: The client's IP address, which its limits apply to.

    """

    __slots__ = (
        "_address",
        "_client",
        "_expiry",
        "_places",
        "_queue",
        "_rate",
        "connection",
    )

    def __init__(self, connection: Connection, address: str) -> None:
        self.connection = connection
        self._address = address
        self._client: str | None = None  # «user 5» or «address …», once it has a place
        self._places: Places | None = None  # who gave it
        self._expiry: asyncio.TimerHandle | None = None
        self._rate = MessageRate(conf.MAX_MESSAGES_PER_SECOND, conf.MAX_MESSAGES_BURST, time.monotonic())
        self._queue = MessageQueue(connection)

    def __str__(self) -> str:
        return self._client or "A client"

    def begin(self, request: Any, subscriptions_of_url: Callable[[], Sequence[Subscribe]] | None) -> None:
        """Identify the client by its request, then watch the jobs that the URL names, if it names any.

        Args:
            request: The handshake, with the client's credentials.
            subscriptions_of_url: Called in the session's task; returns the subscriptions, or raises `Refused`.

        """
        self._queue.put(partial(self._do, partial(self._identify, request, subscriptions_of_url)))

    def end(self) -> None:
        """Leave the hub, give back the place in the limits, and stop the timer and the task."""
        self.connection.lost()
        self._queue.cancel()
        if self._expiry is not None:
            self._expiry.cancel()
        if self._client is not None and self._places is not None:
            self._places.give_back(self._client)
            self._client = self._places = None
        hubs.current().leave(self.connection)

    # The client

    async def _identify(self, request: Any, subscriptions_of_url: Callable[[], Sequence[Subscribe]] | None) -> None:
        try:
            self.connection.identity = await reads.in_thread(identify, request) if has_credentials(request) else ANYBODY
        except Error as error:
            logger.warning("A client can't be identified: %s", error)
            raise Refused(ErrorCode.UNAVAILABLE, "The site can't be read now", close=CloseCode.RESYNC) from error
        hubs.current().enter(self.connection)
        await self._take_place(hubs.current().places)
        self._close_at(self.connection.identity.expires)
        logger.debug("%s connected", self)
        if subscriptions_of_url is not None:
            await self._watch_jobs_of_url(subscriptions_of_url)

    async def _take_place(self, places: Places) -> None:
        user = self.connection.identity.user
        client = f"user {user.pk}" if user.is_authenticated else f"address {network_of(self._address)}"
        if not await places.take(client, conf.MAX_CONNECTIONS_PER_CLIENT):
            raise Refused(ErrorCode.TOO_MANY_CONNECTIONS, "Too many connections", close=CloseCode.TOO_MANY_CONNECTIONS)
        self._client, self._places = client, places

    async def _watch_jobs_of_url(self, subscriptions_of_url: Callable[[], Sequence[Subscribe]]) -> None:
        """Watch the jobs that the URL names, or close: without any of them the connection has no purpose."""
        try:
            await self._subscribe_all(subscriptions_of_url())
        except Refused as refused:
            closes = {ErrorCode.JOB_NOT_FOUND: CloseCode.JOB_NOT_FOUND, ErrorCode.UNAVAILABLE: CloseCode.RESYNC}
            refused.close = refused.close or closes.get(refused.code, CloseCode.INVALID_REQUEST)
            raise

    async def _subscribe_all(self, wanted: Sequence[Subscribe]) -> None:
        """Subscribe to jobs at once. Those that are not found are told, if there is another.

        Raises:
            Refused: Of a job that can't be read now, or of the last if none is found.

        """
        if len(wanted) == 1:
            await self._subscribe(wanted[0], is_required=True)
            return
        subscribing = [self._subscribe(each, is_required=True) for each in wanted]
        failed = [each for each in await asyncio.gather(*subscribing, return_exceptions=True) if each is not None]
        refused = [each for each in failed if isinstance(each, Refused) and not (each.temporary or each.close)]
        if failed and (len(refused) < len(failed) or not self.connection.watched):
            raise next((each for each in failed if each not in refused), failed[-1])
        for each in refused:
            self._refuse(each)

    # The client's messages

    def receive(self, text: str | None, data: bytes | None) -> None:
        """Handle a message of the client; a bad one gets an ``error`` frame.

        A ping is answered at once. All else is queued and done in order, since most of it waits for the database.
        """
        if not self.connection.is_accepting:
            return  # sent before the client knew that we have closed
        try:
            size = self._check(text, data)
            command = commands.parse(text or "")
            if isinstance(command, Ping):
                self.connection.send(frames.pong())
            else:
                self._queue.put(partial(self._do, partial(self._handle, command)), size)
        except Refused as refused:
            self._refuse(refused)

    async def wait_for_room(self) -> None:
        """Return once there is room for another message, or the connection is closing: backpressure."""
        await self._queue.wait_for_room()

    async def _do(self, work: Work) -> None:
        try:
            await work()
        except Refused as refused:
            self._refuse(refused)
        except Exception:
            logger.exception("%s can't be served", self)
            self.connection.close(CloseCode.RESYNC)

    def _check(self, text: str | None, data: bytes | None) -> int:
        """Return the bytes of a message that may be taken."""
        if not self._rate.allows(time.monotonic()):
            raise Refused(ErrorCode.TOO_MANY_MESSAGES, "Too many messages", close=CloseCode.TOO_MANY_MESSAGES)
        size = len(data or b"") if text is None else len(text.encode(errors="replace"))
        if size > conf.MAX_MESSAGE_BYTES:
            sentence = f"A message may have {conf.MAX_MESSAGE_BYTES:,} bytes"
            raise Refused(ErrorCode.MESSAGE_TOO_LARGE, sentence, close=CloseCode.INVALID_REQUEST)
        if text is None:
            raise commands.invalid("Binary frames carry nothing here; send JSON as text.")
        return size

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

    async def _subscribe(self, command: Subscribe, *, is_required: bool = False) -> None:
        watched = self.connection.watched
        if len(watched) >= conf.MAX_SUBSCRIPTIONS and command.job_id not in watched:
            raise Refused(
                ErrorCode.TOO_MANY_SUBSCRIPTIONS,
                f"A socket may watch {conf.MAX_SUBSCRIPTIONS} jobs",
                subject=command.job_id if is_job_id(command.job_id) else None,
                close=CloseCode.TOO_MANY_SUBSCRIPTIONS,
            )
        try:
            await hubs.current().subscribe(
                self.connection,
                command.job_id,
                command.since,
                logs=command.logs,
                output=command.output,
                is_required=is_required,
            )
        except Refused as refused:
            if refused.code is ErrorCode.JOB_NOT_FOUND:
                self._count_miss(refused)
            raise

    def _count_miss(self, refused: Refused) -> None:
        """Count a subscription that found no job.

        Raises:
            Refused: There were too many, of all sockets of the client.

        """
        rate, burst, now = conf.MAX_MISSES_PER_SECOND, conf.MAX_MISSES_BURST, time.monotonic()
        if not hubs.current().misses.of(str(self), rate, burst, now).allows(now):
            raise Refused(
                ErrorCode.TOO_MANY_MESSAGES,
                "Too many jobs were not found",
                subject=refused.subject,
                close=CloseCode.TOO_MANY_MESSAGES,
            ) from refused

    async def _subscribe_many(self, commands: Sequence[Subscribe]) -> None:
        """Subscribe to each job as if by a message of its own; to as many at once as the limit leaves room for."""
        while commands and self.connection.is_accepting:
            free = max(1, conf.MAX_SUBSCRIPTIONS - len(self.connection.watched))
            together, commands = commands[:free], commands[free:]
            await asyncio.gather(*map(self._subscribe_or_refuse, together))

    async def _subscribe_or_refuse(self, command: Subscribe) -> None:
        try:
            await self._subscribe(command)
        except Refused as refused:
            self._refuse(refused)

    async def _subscribe_feed(self, command: SubscribeFeed) -> None:
        if not self.connection.identity.rights.admits_feed(command.feed):
            raise _feed_refused(command.feed)
        await hubs.current().subscribe_feed(self.connection, command.feed)

    def _unsubscribe(self, command: Unsubscribe) -> None:
        if command.is_feed:
            hubs.current().unsubscribe_feed(self.connection, "mine" if command.subject == "mine" else "all")
        else:
            hubs.current().unsubscribe(self.connection, command.subject)
        self.connection.send(frames.unsubscribed(command.subject[:64]))

    async def _authenticate(self, command: Auth) -> None:
        before = self.connection.identity
        self._close_at(None)  # a token that comes in time renews the one before, however long it takes to check
        try:
            self.connection.identity = identity = await reads.in_thread(verify_token, command.token)
            await hubs.current().guard.check([self.connection])  # what it watches is the new user's from here on
        except Error as error:
            self.connection.identity = before
            self._close_at(before.expires)
            raise Refused(ErrorCode.UNAVAILABLE, "The token can't be checked now") from error
        assert identity.expires is not None, "every token expires"
        self._end_feeds_that_are_not_admitted()
        self._close_at(identity.expires)
        self.connection.send(frames.authenticated(identity.expires))

    def _end_feeds_that_are_not_admitted(self) -> None:
        hub, rights = hubs.current(), self.connection.identity.rights
        for name in hub.feed.names_of(self.connection):
            if not rights.admits_feed(name):
                hub.unsubscribe_feed(self.connection, name)
                self.connection.send(frames.error(_feed_refused(name)))

    def _close_at(self, expires: datetime | None) -> None:
        """Close the socket when the client's token expires."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if expires is not None:
            seconds = (expires - datetime.now(UTC)).total_seconds()
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(seconds, self.connection.close, CloseCode.TOKEN_EXPIRED)

    def _refuse(self, refused: Refused) -> None:
        refusals.note(refused.code, f"{self} was refused: {refused}")
        self.connection.send(frames.error(refused))
        if refused.close is not None:
            self.connection.close(refused.close)


def _feed_refused(name: FeedName) -> Refused:
    sentence = "Sign in to see your jobs" if name == "mine" else "The token does not admit to this feed"
    return Refused(ErrorCode.NOT_AUTHENTICATED, sentence, subject=name)

"""One watcher's socket, as the hub sees it: frames go in, and never block whoever sends them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from progress.codes import CloseCode
from progress.conf import conf
from progress.outbox import Outbox
from progress.protocol import Frame

logger = logging.getLogger(__name__)

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Connection:
    """Sends frames in order, at once while the socket takes them, through a bounded outbox while it does not.

    Args:
        send: The ASGI ``send`` of the socket.

    """

    def __init__(self, send: Send) -> None:
        self._asgi_send = send
        self._outbox = Outbox(conf.OUTBOX_BYTES)
        self._draining: asyncio.Task[None] | None = None
        self._closing: CloseCode | None = None
        self.is_open = True
        self.watched: set[str] = set()  # the jobs, as the hub keeps it

    @property
    def is_accepting(self) -> bool:
        """Whether the socket is there and stays."""
        return self.is_open and self._closing is None

    def send(self, frame: Frame) -> None:
        """Send a frame, or let it wait; a watcher for whom too much waits is closed with 4008."""
        if not self.is_accepting:
            return
        if self._draining is None:
            self._begin({"type": "websocket.send", "text": frame.text})
        elif not self._outbox.put(frame):
            self.close(CloseCode.TOO_SLOW)

    def close(self, code: CloseCode) -> None:
        """Close the socket, after what waits was sent, but for a watcher that is too slow for it."""
        if not self.is_open or self._closing is not None:
            return
        logger.debug("Closing a socket with %d (%s)", code, code.name)
        self._closing = code
        if code is CloseCode.TOO_SLOW:
            self._outbox.clear()
        if self._draining is None:
            self._begin({"type": "websocket.close", "code": int(code)})

    def lost(self) -> None:
        """Take note that the socket is gone: nothing more is sent."""
        self.is_open = False
        self._outbox.clear()
        if self._draining is not None:
            self._draining.cancel()

    def _begin(self, message: dict[str, Any]) -> None:
        """Send a message as far as that goes without waiting, and the rest in a task.

        Most sends are over at once, and a task for each would cost more than the sending (the same
        idea as eager tasks, which Python has from 3.12).
        """
        sending = self._asgi_send(message).__await__()
        try:
            waits_for = next(sending)
        except StopIteration:
            return
        except Exception as error:  # the socket is gone; its consumer will hear of it from the server
            self._failed(error)
            return
        self._draining = asyncio.ensure_future(self._drain(_Started(sending, waits_for)))

    async def _drain(self, sending: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(conf.SEND_SECONDS):
                await sending
            while self._outbox:
                async with asyncio.timeout(conf.SEND_SECONDS):
                    await self._asgi_send({"type": "websocket.send", "text": self._outbox.pop().text})
            self._draining = None
            if self._closing is not None:
                await self._asgi_send({"type": "websocket.close", "code": int(self._closing)})
        except TimeoutError:
            self._draining = None
            self.close(CloseCode.TOO_SLOW)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        logger.debug("A socket can't be sent to any more: %r", error)
        self.is_open = False
        self._outbox.clear()


class _Started:
    """An awaitable whose first step was taken already."""

    def __init__(self, steps: Generator[Any, Any, None], waits_for: Any) -> None:
        self._steps = steps
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    given = yield waits_for
                except BaseException as error:  # a cancellation, passed on to where it waits
                    waits_for = self._steps.throw(error)
                else:
                    waits_for = self._steps.send(given)
        except StopIteration:
            return

"""A socket that the test holds the other end of."""

import asyncio
import sys
from typing import Any

from progress.delivery.connection import Connection
from tests.progress.senders import a_frame
from tests.progress.watching import eventually


class FakeSocket:
    """Takes messages at once, or while ``open`` is set; some are refused instead.

    ``turns``: how often each send suspends first, as behind a middleware that awaits something.
    """

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.open = asyncio.Event()
        self.open.set()
        self.turns = 0
        self.waiting = 0
        self.refused: set[Any] = set()  # the texts and codes
        self.closes_at_once = True
        self.swallows_cancellation = False

    async def send(self, message: dict[str, Any]) -> None:
        closing = message["type"] == "websocket.close"
        what = message["code"] if closing else message["text"]
        for _ in range(self.turns):
            await asyncio.sleep(0)
        if not self.open.is_set() and not (closing and self.closes_at_once):
            await self._wait()
        if what in self.refused:
            raise ValueError("too large for this server")
        self.taken.append(what)

    async def _wait(self) -> None:
        self.waiting += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            if not self.swallows_cancellation:
                raise
        finally:
            self.waiting -= 1

    def take_one(self) -> None:
        """Take the message that is stuck, and no other."""
        self.open.set()
        self.open.clear()

    async def until(self, *taken: Any) -> None:
        await eventually(lambda: self.taken == list(taken))


async def fill(socket: FakeSocket, connection: Connection, text: str = "stuck") -> None:
    """Bring a socket to where a message is stuck in it."""
    socket.open.clear()
    connection.send(a_frame(text))
    await eventually(lambda: socket.waiting)


IS_EAGER = sys.version_info >= (3, 12)  # a task begins at once, where it is made

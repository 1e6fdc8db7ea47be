"""What a client has asked for and waits to be done: bounded, in order, one after another."""

import asyncio
from collections.abc import Awaitable, Callable

from ..conf import conf
from ..delivery.connection import Connection

MAX_QUEUED_MESSAGES = 32  # that wait while the database answers an earlier one; no more are read meanwhile

Work = Callable[[], Awaitable[None]]


class MessageQueue:
    """Work of one session, done in a task that ends when the queue is empty, or the connection is closing."""

    # None of them leads to the session: it would be kept after its end, until the garbage collector comes.
    __slots__ = ("_connection", "_room", "_task", "_waiting")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: list[tuple[Work, int]] = []  # with the bytes of each message; an empty deque takes 0.6 KiB
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Event | None = None  # set once there is room; None while nobody waits for that

    @property
    def is_full(self) -> bool:
        """Whether no more is to be read; never while one message waits alone, nor once the connection is closing."""
        if len(self._waiting) < 2 or not self._connection.is_accepting:
            return False
        size = sum(size for _, size in self._waiting)
        return size > conf.MAX_MESSAGE_BYTES or len(self._waiting) >= MAX_QUEUED_MESSAGES

    def put(self, work: Work, size: int = 0) -> None:
        """Queue a piece of work that a message of so many bytes has asked for; it raises nothing."""
        self._waiting.append((work, size))
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    def cancel(self) -> None:
        """Leave what is under way, and do no more."""
        if self._task is not None:
            self._task.cancel()

    async def wait_for_room(self) -> None:
        """Return once there is room for another message, or the connection is closing: backpressure."""
        while self.is_full:
            self._room = asyncio.Event()
            await self._room.wait()
            self._room = None

    async def _run(self) -> None:
        while self._waiting and self._connection.is_accepting:
            work, _ = self._waiting.pop(0)
            self._signal_room()
            await work()
        self._task = None
        self._signal_room()

    def _signal_room(self) -> None:
        if self._room is not None:
            self._room.set()

"""What tests of the progress app share: sockets within this process, and a scripted channel layer."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator

from progress.delivery import hubs
from progress.delivery.chunks import Chunk
from progress.delivery.connection import Connection
from progress.protocol.codes import CloseCode
from tests.progress.senders import FakeSender

WAIT_SECONDS = 10.0  # how long a test waits for what must come
ADDRESS = "127.0.0.1"
HOST = (b"host", b"localhost")
ORIGIN = (b"origin", b"http://localhost")


class LogLines(logging.Handler):
    """Collects log records."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, name: str, level: int = logging.INFO) -> list[str]:
        return [each.getMessage() for each in self.records if each.name == name and each.levelno >= level]

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.records]


class Socket(WebsocketCommunicator):
    """One WebSocket to the site's ASGI application."""

    def __init__(self, path: str = "/progress/ws", *headers: tuple[bytes, bytes], address: str = ADDRESS) -> None:
        from progress_site.asgi import application

        super().__init__(application, path, [HOST, *headers])
        self.scope["scheme"] = "ws"
        self.scope["client"] = [address, 50_000]

    async def open(self) -> "Socket":
        accepted, _ = await self.connect(WAIT_SECONDS)
        assert accepted
        return self

    async def next(self) -> Any:
        return await self.receive_json_from(WAIT_SECONDS)

    async def until(self, *kinds: str) -> Any:
        """Return the next frame of one of the types; others are passed over."""
        while (frame := await self.next())["type"] not in kinds:
            pass
        return frame

    async def ask(self, **message: Any) -> Any:
        await self.send_json_to(message)
        return await self.next()

    async def so_far(self) -> list[Any]:
        """Return all that is sent until everything that was asked before now has been answered."""
        await self.send_json_to({"type": "unsubscribe", "job_id": "(nothing)"})
        frames = []
        while (frame := await self.next()) != {"type": "unsubscribed", "subject": "(nothing)"}:
            frames.append(frame)
        return frames

    async def close_code(self) -> int:
        message = await self.receive_output(WAIT_SECONDS)
        assert message["type"] == "websocket.close", message
        return int(message["code"])

    async def leave(self) -> None:
        await self.disconnect(timeout=WAIT_SECONDS)


@asynccontextmanager
async def watching(path: str = "/progress/ws", *headers: tuple[bytes, bytes], **options: Any) -> AsyncIterator[Socket]:
    """A socket that is open within the block."""
    socket = await Socket(path, *headers, **options).open()
    try:
        yield socket
    finally:
        await socket.leave()


def bearer(token: str) -> tuple[bytes, bytes]:
    return b"authorization", f"Bearer {token}".encode()


class Watcher(FakeSender):
    """A connection of the hub, and its transport's end: what is sent is in ``frames`` at once."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Any] = []
        self._news = asyncio.Event()
        self.connection = Connection(self)

    def write(self, chunk: Chunk) -> None:
        self.frames += [json.loads(frame.payload) for frame in chunk.frames]
        self._news.set()

    def close(self, code: CloseCode) -> None:
        super().close(code)
        self._news.set()

    async def until(self, reached: Callable[[list[Any]], bool]) -> list[Any]:
        """Wait until the frames are as wanted."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not reached(self.frames):
                self._news.clear()
                await self._news.wait()
        return self.frames

    async def until_seq(self, seq: int) -> list[Any]:
        return await self.until(lambda frames: bool(frames) and max(each.get("seq", 0) for each in frames) >= seq)


@asynccontextmanager
async def watchers(count: int = 1) -> AsyncIterator[list[Watcher]]:
    """Watchers who have entered the hub; they leave it at the end."""
    made = [Watcher() for _ in range(count)]
    for each in made:
        hubs.current().enter(each.connection)
    try:
        yield made
    finally:
        for each in made:
            hubs.current().leave(each.connection)


class ScriptedLayer:
    """A channel layer that does what the test says.

    ``broken`` raises from every call, ``hangs`` waits for ever; ``inbox`` is what `receive` gives.
    """

    def __init__(self) -> None:
        self.groups: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.inbox: asyncio.Queue[Any] = asyncio.Queue()
        self.broken = False
        self.hangs = False
        self.is_deaf = False  # takes what is sent, and brings nothing
        self.channels = 0
        self.passing: asyncio.Event | None = None  # a call to a group waits for it

    async def _answer(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.broken:
            raise ConnectionError("the layer is down")
        if self.passing is not None:
            await self.passing.wait()

    async def new_channel(self) -> str:
        await self._answer()
        self.channels += 1
        return f"channel-{self.channels}"

    async def group_add(self, group: str, channel: str) -> None:
        self.calls.append(("add", group))
        await self._answer()
        self.groups.add(group)

    async def group_discard(self, group: str, channel: str) -> None:
        self.calls.append(("discard", group))
        await self._answer()
        self.groups.discard(group)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self._answer()
        self.sent.append((group, message))

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        await self._answer()
        if not self.is_deaf:
            self.inbox.put_nowait(message)

    async def receive(self, channel: str) -> Any:
        message = await self.inbox.get()
        if isinstance(message, Exception):
            self.groups.clear()
            raise message
        return message


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds, looking after each turn of the event loop."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


run = sync_to_async(thread_sensitive=False)


def timers() -> list[Any]:
    """Return the timers of connections."""
    scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return [each for each in scheduled if not each.cancelled() and isinstance(_owner(each._callback), Connection)]


def _owner(callback: Any) -> Any:
    return getattr(callback, "__self__", None)

"""The server's end of a socket: what the consumer is given, and a client that may stop to read or be gone."""

import asyncio
import json
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.clients import Client
    from tests.simulation.views import Request

GONE = 1006


class Socket:
    """A socket whose frames are sent by ASGI ``send``, which waits while the client does not read.

    Args:
        habit: What else `send` does: "waits" suspends each time, "times" does so under `asyncio.timeout`.

    """

    writer: "FrameWriter | None" = None

    def __init__(self, client: "Client", habit: str) -> None:
        self.client = client
        self.habit = habit
        self.is_open = True  # neither closed by the server nor cut
        self.is_accepted = False
        self.code: int | None = None  # that the server closed it with
        self.fails = False  # `send` raises
        self.was_behind = habit != ""  # ticks may have been superseded
        self._reads = asyncio.Event()
        self._reads.set()
        self._inbox: asyncio.Queue[tuple[dict[str, Any], Request | None]] = asyncio.Queue()
        self.put({"type": "websocket.connect"})

    @property
    def is_reading(self) -> bool:
        return self._reads.is_set()

    # What the server calls

    async def receive(self) -> dict[str, Any]:
        message, request = await self._inbox.get()
        if request is not None:
            self.client.taken(request)
        return message

    async def send(self, message: dict[str, Any]) -> None:
        if self.habit == "times":
            async with asyncio.timeout(60):
                await self._pass()
        else:
            await self._pass()
        if self.fails:
            self.client.lose(self)
            raise ConnectionError("the socket is broken")
        self.deliver(message)

    async def _pass(self) -> None:
        if self.habit:
            await asyncio.sleep(self.client.chance.choice((0, 0, 0.001, 0.02)))
        if not self.is_reading:
            self.was_behind = True
            await self._reads.wait()

    # What happens to it

    def put(self, message: dict[str, Any], request: "Request | None" = None) -> None:
        """Let the server receive a message."""
        self._inbox.put_nowait((message, request))

    def pause(self) -> None:
        self._reads.clear()

    def go_on(self) -> None:
        self._reads.set()

    def cut(self, code: int = GONE) -> None:
        """Lose the line: the server hears of it."""
        self.is_open = False
        self.go_on()
        self.put({"type": "websocket.disconnect", "code": code})

    def deliver(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "websocket.accept":
                self.is_accepted = True
            case "websocket.close":
                self.client.claim(self.code is None, "closed twice")
                self.code = message.get("code", 1000)
                if self.is_open:
                    self.client.closed(self, self.code)
                    self.cut(self.code)
            case "websocket.send":
                self.client.claim(self.code is None, f"sent behind the close: {message['text']}")
                if self.is_open:
                    self.client.take(self, json.loads(message["text"]))


class FrameWriter:
    """What `manage.py serve` offers beside `send`: takes ready-made frames, and says when it is full."""

    def __init__(self, socket: Socket, capacity: int) -> None:
        self.on_empty: Any = None
        self._socket = socket
        self._capacity = capacity
        self._is_full = False
        self._waiting = b""

    def write(self, frames: bytes) -> bool:
        socket = self._socket
        socket.client.claim(socket.code is None, "written behind the close")
        socket.client.claim(not self._is_full, "written while the socket is full")
        self._waiting += frames
        if socket.is_reading:
            self._drain()
        self._is_full = len(self._waiting) > self._capacity
        socket.was_behind |= self._is_full
        return not self._is_full

    def go_on(self) -> None:
        """Read what waits; the one who filled it hears that it is empty."""
        self._drain()
        was_full, self._is_full = self._is_full, False
        if was_full and self.on_empty is not None:
            self.on_empty()

    def _drain(self) -> None:
        waiting, self._waiting = self._waiting, b""
        for text in texts(waiting):
            self._socket.deliver({"type": "websocket.send", "text": text})


class WritingSocket(Socket):
    """A socket with a frame writer."""

    def __init__(self, client: "Client", capacity: int) -> None:
        super().__init__(client, "")
        self.writer = FrameWriter(self, capacity)

    def go_on(self) -> None:
        super().go_on()
        if self.is_open:
            self.writer.go_on()


def texts(stream: bytes) -> Iterator[str]:
    """Yield the texts of whole, unmasked frames (RFC 6455, section 5.2)."""
    at = 0
    while at < len(stream):
        assert stream[at] == 0x81, "a whole text frame begins here"
        length, header = stream[at + 1], 2
        if length == 126:
            length, header = struct.unpack_from("!H", stream, at + 2)[0], 4
        elif length == 127:
            length, header = struct.unpack_from("!Q", stream, at + 2)[0], 10
        yield stream[at + header : at + header + length].decode()
        at += header + length

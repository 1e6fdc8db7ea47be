"""A client of server-sent events, as the HTML Standard has it, over a connection that the test holds."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any, NamedTuple

WAIT_SECONDS = 40.0  # how long a test waits for what must come
Frame = dict[str, Any]


class Event(NamedTuple):
    """What is dispatched to a page: the last id so far, and the data."""

    last_id: str
    data: str

    @property
    def frame(self) -> Frame:
        frame: Frame = json.loads(self.data)
        return frame


class EventParser:
    """Makes events of bytes, however they are cut (section 9.2.6); ``comments`` counts them."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry: int | None = None
        self.comments = 0
        self._rest = b""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[Event]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [event for line in lines if (event := self._take(line.decode()))]

    def _take(self, line: str) -> Event | None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            data, self._data = self._data, []
            return Event(self.last_id, "\n".join(data)) if data else None
        match name:
            case "":
                self.comments += 1
            case "id":
                self.last_id = value
            case "data":
                self._data.append(value)
            case "retry":
                self.retry = int(value)
            case other:
                raise AssertionError(f"unknown field {other}")
        return None


class Response:
    """One answer over a real connection: its status and headers, then its events or its body."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.status = 0
        self.headers: dict[str, str] = {}
        self.parser = EventParser()
        self._events: list[Event] = []

    async def begin(self) -> "Response":
        async with asyncio.timeout(WAIT_SECONDS):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(head[0].split()[1])
        pairs = [line.partition(":") for line in head[1:] if line]
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}
        return self

    async def next(self) -> Event:
        """Return the next event.

        Raises:
            EOFError: The stream has ended.

        """
        async with asyncio.timeout(WAIT_SECONDS):
            while not self._events:
                if not (data := await self._part()):
                    raise EOFError
                self._events += self.parser.feed(data)
        return self._events.pop(0)

    async def body(self) -> bytes:
        """Return all that is left of it."""
        data = b""
        async with asyncio.timeout(WAIT_SECONDS):
            if "content-length" in self.headers:
                return await self._reader.readexactly(int(self.headers["content-length"]))
            while part := await self._part():
                data += part
        return data

    async def _part(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return await self._reader.read(65_536)
        size = int((await self._reader.readuntil(b"\r\n")).strip(), 16)
        data = await self._reader.readexactly(size + 2)
        return data[:-2]


@asynccontextmanager
async def get(
    port: int, path: str, *, version: str = "1.1", tls: SSLContext | None = None, **headers: str
) -> AsyncIterator[Response]:
    """A GET that is answered; headers are written with ``_`` for ``-``."""
    reader, writer = await asyncio.open_connection("localhost" if tls else "127.0.0.1", port, ssl=tls)
    try:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in {"Host": "localhost", **headers}.items()]
        writer.write("\r\n".join([f"GET {path} HTTP/{version}", *lines, "", ""]).encode())
        yield await Response(reader).begin()
    finally:
        writer.transport.abort()

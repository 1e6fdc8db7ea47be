"""A stream within this process, through the site's ASGI application."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

from channels.testing import ApplicationCommunicator

from tests.progress.watching import ADDRESS, HOST, WAIT_SECONDS
from tests.streams import Event, EventParser


class Stream(ApplicationCommunicator):
    """One GET to the site's ASGI application."""

    def __init__(self, path: str, *headers: tuple[bytes, bytes], address: str = ADDRESS, method: str = "GET") -> None:
        from progress_site.asgi import application

        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [HOST, *headers],
            "client": [address, 50_000],
            "server": ["localhost", 80],
        }
        super().__init__(application, scope)
        self.parser = EventParser()
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.raw = b""
        self._events: list[Event] = []
        self.has_ended = False

    async def open(self) -> "Stream":
        await self.send_input({"type": "http.request", "body": b"", "more_body": False})
        start = await self.receive_output(WAIT_SECONDS)
        assert start["type"] == "http.response.start", start
        self.status, self.headers = start["status"], dict(start["headers"])
        return self

    async def next(self) -> Event:
        """Return the next event.

        Raises:
            EOFError: The stream has ended.

        """
        while not self._events:
            if self.has_ended:
                raise EOFError
            self._events += self.parser.feed(await self._part())
        return self._events.pop(0)

    async def frame(self) -> Any:
        return (await self.next()).frame

    async def until(self, kind: str) -> Event:
        """Return the next event of a type; others are passed over."""
        while (event := await self.next()).frame["type"] != kind:
            pass
        return event

    async def error(self) -> Any:
        """Return the body of a refusal."""
        body = b""
        while not self.has_ended:
            body += await self._part()
        return json.loads(body)

    async def leave(self) -> None:
        await self.send_input({"type": "http.disconnect"})
        await self.wait(WAIT_SECONDS)

    async def _part(self) -> bytes:
        message = await self.receive_output(WAIT_SECONDS)
        assert message["type"] == "http.response.body", message
        self.has_ended = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        self.raw += body
        return body


@asynccontextmanager
async def streaming(path: str, *headers: tuple[bytes, bytes], **options: Any) -> AsyncIterator[Stream]:
    """A request that is answered within the block."""
    stream = await Stream(path, *headers, **options).open()
    try:
        yield stream
    finally:
        if stream.has_ended:
            await stream.wait(WAIT_SECONDS)
        else:
            await stream.leave()


async def refused(path: str, *headers: tuple[bytes, bytes], **options: Any) -> tuple[int, Any]:
    """Return the status and the body of a request that is refused."""
    async with streaming(path, *headers, **options) as stream:
        return stream.status, await stream.error()


async def ended(stream: Stream) -> list[Any]:
    """Return the frames that come until the stream ends."""
    frames = []
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                frames.append(await stream.frame())
            except EOFError:
                return frames

"""A server that plays a script, for tests of what a client does when things go wrong.

async with ScriptedServer() as server:
    client = …                              # connects to server.url
    first = await server.connection()       # the next connection that a client has made
    await first.send(snapshot(seq=3))
    await first.close(4008)
    second = await server.connection()
    assert second.query == {"epoch": "e1", "seq": "3"}
"""

import asyncio
import json
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import ServerConnection, serve

WAIT_SECONDS = 10.0  # how long a test waits for what must come


class Connection:
    """One connection, as the script sees it."""

    def __init__(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        url = urlsplit(socket.request.path)
        self.path = url.path
        self.query = dict(parse_qsl(url.query))
        self.headers = socket.request.headers
        self.socket = socket

    async def send(self, *frames: dict[str, Any] | str) -> None:
        for frame in frames:
            await self.socket.send(frame if isinstance(frame, str) else json.dumps(frame))

    async def receive(self) -> Any:
        return json.loads(await asyncio.wait_for(self.socket.recv(), WAIT_SECONDS))

    async def close(self, code: int = 1000) -> None:
        await self.socket.close(code)

    def cut(self) -> None:
        """Lose the connection with no goodbye."""
        self.socket.transport.abort()

    async def closed(self) -> None:
        """Wait until the client has gone."""
        await asyncio.wait_for(self.socket.wait_closed(), WAIT_SECONDS)


class ScriptedServer:
    """Listens on a free port; each connection does only what the test says."""

    def __init__(self) -> None:
        self.refusals: list[int] = []  # HTTP statuses for the next connections
        self._connections: asyncio.Queue[Connection] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        self._server = await serve(
            self._serve, "127.0.0.1", port, process_request=self._answer, ping_interval=None, close_timeout=1
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def connection(self) -> Connection:
        return await asyncio.wait_for(self._connections.get(), WAIT_SECONDS)

    def _answer(self, socket: ServerConnection, request: Any) -> Any:
        return socket.respond(self.refusals.pop(0), "no\n") if self.refusals else None

    async def _serve(self, socket: ServerConnection) -> None:
        self._connections.put_nowait(Connection(socket))
        await socket.wait_closed()


def progress(seq: int, status: str = "in_progress", **fields: Any) -> dict[str, Any]:
    return {
        "type": "progress",
        "job_id": "job-1",
        "status": status,
        "progress": 10.0,
        "message": "",
        "timestamp": "2026-01-01T00:00:00.000000Z",
        "metadata": {"attempt": 1},
        "seq": seq,
        **fields,
    }


def snapshot(
    seq: int, status: str = "in_progress", *, epoch: str = "e1", recovered: bool = False, **fields: Any
) -> dict[str, Any]:
    frame = progress(seq, status, **fields)
    return {**frame, "type": "snapshot", "epoch": epoch, "recovered": recovered, "name": "Import"}


def backscroll(**fields: Any) -> dict[str, Any]:
    return {"type": "backscroll", "subject": "job-1", "epoch": "e1", **fields}


def output(seq: int, text: str = "hello", **fields: Any) -> dict[str, Any]:
    frame = {**log(seq, text), "type": "output", "name": "output", "offset": 0}
    del frame["level"]
    return {**frame, **fields}


def log(seq: int, text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {
        "type": "log",
        "subject": "job-1",
        "seq": seq,
        "timestamp": "2026-01-01T00:00:00.000000Z",
        "level": "info",
        "text": text,
        **fields,
    }

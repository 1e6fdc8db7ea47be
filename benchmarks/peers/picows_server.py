"""A bare picows server (Cython): the ceiling of what Python processes do here, the harness included."""

import asyncio
import sys
from typing import Any

from picows import WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from benchmarks import payload
from benchmarks.peers import drive

watchers: set[WSTransport] = set()
tasks: set[asyncio.Task[None]] = set()


class Watcher(WSListener):
    """One who watches."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Take it in."""
        watchers.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Forget it."""
        watchers.discard(transport)


class Control(WSListener):
    """One who tells us to send."""

    def __init__(self, query: str) -> None:
        self.order = drive.Order(query)

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Start."""
        task = asyncio.ensure_future(self.work(transport))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def work(self, transport: WSTransport) -> None:
        """Send events, then report."""
        report = await drive.run(self.order, self.order.messages(), broadcast)
        transport.send(WSMsgType.TEXT, report.encode())


async def broadcast(event: dict[str, Any]) -> None:
    """Encode once, send to each."""
    text = payload.text(event).encode()
    for transport in watchers:
        transport.send(WSMsgType.TEXT, text)


def listener(request: WSUpgradeRequest) -> WSListener:
    """Tell watchers and control apart."""
    path, _, query = request.path.decode().partition("?")
    return Control(query) if path == drive.PATH else Watcher()


async def main(port: int) -> None:
    """Serve until the process is ended."""
    server = await ws_create_server(listener, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

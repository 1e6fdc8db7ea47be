"""The consumer: ours, and what it would be with Channels' own loop or Channels' own dispatch.

Run as a worker's script; prints the KiB of an idle socket and the microseconds of a message.
"""

import asyncio
import gc
import json
import resource
import time
from pathlib import Path
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.test import override_settings

from progress.delivery.connection import Connection
from progress.transports.asgi import sender_of
from progress.transports.consumers import ProgressConsumer
from progress.transports.session import Session

PING = {"type": "websocket.receive", "text": '{"type":"ping"}'}
UNLIMITED = {"PROGRESS_MAX_CONNECTIONS_PER_CLIENT": 10_000, "PROGRESS_MAX_MESSAGES_BURST": 10_000}


class OwnLoop(ProgressConsumer):
    """Ours, in Channels' loop, without a channel of the channel layer."""

    channel_layer_alias = ""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve one socket."""
        self.session = Session(Connection(sender_of(scope, send)), "unknown")
        try:
            await AsyncJsonWebsocketConsumer.__call__(self, scope, receive, send)
        finally:
            self.session.end()


class OwnDispatch(ProgressConsumer):
    """Ours, with Channels' dispatch."""

    dispatch = AsyncJsonWebsocketConsumer.dispatch


CONSUMERS = {"ours": ProgressConsumer, "loop": OwnLoop, "dispatch": OwnDispatch}


def main(which: str, sockets: str, messages: str) -> None:
    """Measure one."""
    with override_settings(**UNLIMITED):
        print(json.dumps(asyncio.run(_measured(CONSUMERS[which], int(sockets), int(messages)))))


async def _measured(consumer: type[ProgressConsumer], sockets: int, messages: int) -> tuple[float, float]:
    application = consumer.as_asgi()
    inboxes: list[asyncio.Queue[dict[str, Any]]] = [asyncio.Queue() for _ in range(sockets)]
    answers: asyncio.Queue[str] = asyncio.Queue()
    accepting = asyncio.Semaphore(0)

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.accept":
            accepting.release()
        elif "pong" in message["text"]:
            answers.put_nowait(message["text"])

    gc.collect()
    before = _resident_bytes()
    serving = []
    for inbox in inboxes:
        inbox.put_nowait({"type": "websocket.connect"})
        serving.append(asyncio.ensure_future(application(_scope(), inbox.get, send)))
    for _ in inboxes:
        await accepting.acquire()
    gc.collect()
    kib = (_resident_bytes() - before) / sockets / 1024
    began = time.perf_counter()
    for _ in range(messages):
        inboxes[0].put_nowait(PING)
        await answers.get()
    microseconds = (time.perf_counter() - began) / messages * 1e6
    for each in serving:
        each.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    return kib, microseconds


def _scope() -> dict[str, Any]:
    return {
        "type": "websocket",
        "path": "/progress/ws",
        "headers": [(b"host", b"localhost")],
        "query_string": b"",
        "client": ["127.0.0.1", 1],
        "url_route": {"args": (), "kwargs": {}},
    }


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

"""How a peer is told to send, alike for all: a WebSocket to ``/bench/run?events=…`` starts it.

The server process makes the events itself, as fast as it can or at a rate. They come a few at a time, as
from a worker that does not wait until the last one was seen; what a design makes of that is its own
affair. Then the event loop gets two turns. After one, an asyncio loop would resume the generator before it looks
at the sockets that a server without backpressure (Daphne) has only queued its writes for; with two, all
that has come is on its way before more comes.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from benchmarks import payload

PATH = "/bench/run"


class Order:
    """What the control message asks for.

    How many events, how many a second (0: full speed), how many at a time, how long each.
    """

    def __init__(self, query: str) -> None:
        asked = {name: float(values[0]) for name, values in parse_qs(query).items()}
        self.events = int(asked.get("events", 100))
        self.rate = asked.get("rate", 0.0)
        self.size = int(asked.get("size", payload.SIZE))
        self.burst = int(asked.get("burst", payload.BURST))
        self.writes = bool(asked.get("writes", 0))  # ours: through the lifecycle and the database
        self.own_jobs = int(asked.get("own_jobs", 0))  # how many watchers have one; ours only
        self.separators = payload.COMPACT

    def messages(self, base: int = payload.BASE) -> list[dict[str, Any]]:
        """Return the events; they are made beforehand, only the encoding is measured."""
        return [payload.fields(base + n, self.size, self.separators) for n in range(1, self.events + 1)]


async def run(order: Order, messages: list[Any], send: Callable[[Any], Awaitable[None]]) -> str:
    """Send the messages and return a report as JSON.

    It has the moment at which this began, and those of the messages if they have a rate.
    """
    began = time.monotonic()
    stamps = []
    for number, message in enumerate(messages):
        if order.rate:
            wait = began + number / order.rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            stamps.append(time.monotonic())
        await send(message)
        if (number + 1) % order.burst == 0:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    return report(began, stamps)


def report(began: float, stamps: list[float]) -> str:
    """Return the report of a run; stamps are seconds of the system's monotonic clock."""
    return json.dumps({"began": began, "stamps": stamps})


async def answer_asgi(scope: Any, receive: Any, send: Any, work: Callable[[Order], Awaitable[str]]) -> None:
    """Answer the control message on an ASGI server."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": await work(Order(scope["query_string"].decode()))})
    while (await receive())["type"] != "websocket.disconnect":
        pass

"""A bare ASGI application, for Daphne and uvicorn: nothing but ``send``, one loop over the sockets."""

from typing import Any

from benchmarks import payload
from benchmarks.peers import drive

watchers: set[Any] = set()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Take a watcher in, or send events to all of them."""
    if scope["type"] != "websocket":
        return
    if scope["path"] == drive.PATH:
        await drive.answer_asgi(scope, receive, send, work)
        return
    await receive()
    await send({"type": "websocket.accept"})
    watchers.add(send)
    try:
        while (await receive())["type"] != "websocket.disconnect":
            pass
    finally:
        watchers.discard(send)


async def work(order: drive.Order) -> str:
    """Send events."""
    return await drive.run(order, order.messages(), broadcast)


async def broadcast(event: dict[str, Any]) -> None:
    """Encode once, send to each."""
    message = {"type": "websocket.send", "text": payload.text(event)}
    for send in list(watchers):
        await send(message)

"""A host's own application: it lets every WebSocket in."""

from typing import Any


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Accept a socket, and answer a request with an empty page."""
    message = await receive()
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "websocket.accept"})
    while message["type"] != "websocket.disconnect":
        message = await receive()

"""A host's own application: it lets every WebSocket in, and tells a request what it looks like."""

import json
from typing import Any


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Accept a socket, or answer a request with its client, scheme and root path."""
    message = await receive()
    if scope["type"] == "http":
        seen = {name: scope[name] for name in ("client", "scheme", "root_path")}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(seen).encode()})
        return
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps({name: scope[name] for name in ("client", "scheme")})})
    while message["type"] != "websocket.disconnect":
        message = await receive()

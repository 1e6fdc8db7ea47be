"""The site, with one URL more, which tells a request or a socket what the server takes its client for."""

import json
from typing import Any

from channels.routing import ProtocolTypeRouter

from progress_site.asgi import application as site

SEEN = "/seen"


async def _http(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["path"] != SEEN:
        await site(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": _told(scope, "client", "scheme", "root_path")})


async def _websocket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["path"] != SEEN:
        await site(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": _told(scope, "client", "scheme").decode()})
    await receive()


def _told(scope: dict[str, Any], *names: str) -> bytes:
    return json.dumps({name: scope[name] for name in names}).encode()


application = ProtocolTypeRouter({"http": _http, "websocket": _websocket})

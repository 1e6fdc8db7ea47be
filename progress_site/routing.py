"""The URLs of the site's WebSockets, and of what is answered ahead of Django."""

import logging
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from django.urls import re_path

from progress.routing import http_urlpatterns, websocket_urlpatterns

logger = logging.getLogger(__name__)


class Unknown(AsyncWebsocketConsumer):
    """Refuses a socket at any other URL with HTTP 403; Channels alone would log a traceback."""

    async def connect(self) -> None:
        """Refuse."""
        logger.info("No WebSocket at %.100r", self.scope["path"])
        await self.close()


websocket_application: Any = URLRouter([*websocket_urlpatterns, re_path(r"", Unknown.as_asgi())])


def http_router(pages: Any) -> Any:
    """Return the application for HTTP: streams of events, and the pages behind them."""
    return URLRouter([*http_urlpatterns, re_path(r"", pages)])

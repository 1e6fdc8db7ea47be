"""The URLs of the site's WebSockets."""

import logging
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from django.urls import re_path

from progress.routing import websocket_urlpatterns

logger = logging.getLogger(__name__)


class Unknown(AsyncWebsocketConsumer):
    """Refuses a socket at any other URL with HTTP 403; Channels alone would log a traceback."""

    async def connect(self) -> None:
        """Refuse."""
        logger.info("No WebSocket at %.100r", self.scope["path"])
        await self.close()


websocket_application: Any = URLRouter([*websocket_urlpatterns, re_path(r"", Unknown.as_asgi())])

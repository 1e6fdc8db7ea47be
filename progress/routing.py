"""The addresses of the WebSockets."""

import logging
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from django.urls import re_path

from .transports.consumers import ProgressConsumer

logger = logging.getLogger(__name__)


class Unknown(AsyncWebsocketConsumer):
    """Refuses a socket at any other address with HTTP 403, quietly."""

    async def connect(self) -> None:
        """Refuse."""
        logger.info("No WebSocket at %.100r", self.scope["path"])
        await self.close()


websocket_application: Any = URLRouter(
    [
        # Any id, so that a malformed one is answered like one that does not exist.
        re_path(r"^progress/ws/(?P<job_id>[^/]+)/?$", ProgressConsumer.as_asgi()),
        re_path(r"^progress/ws/?$", ProgressConsumer.as_asgi()),
        re_path(r"", Unknown.as_asgi()),
    ]
)

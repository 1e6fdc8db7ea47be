"""The URLs of the WebSockets."""

from typing import Any

from django.urls import re_path

from .transports.consumers import ProgressConsumer

websocket_urlpatterns: list[Any] = [
    # Matches any id, so that a malformed one gets the same answer as one that does not exist.
    re_path(r"^progress/ws/(?P<job_id>[^/]+)/?$", ProgressConsumer.as_asgi()),
    re_path(r"^progress/ws/?$", ProgressConsumer.as_asgi()),
]

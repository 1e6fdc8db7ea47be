"""The URLs of the WebSockets, and of the streams of server-sent events."""

from typing import Any

from django.urls import re_path

from .transports.consumers import ProgressConsumer
from .transports.sse.application import event_stream

websocket_urlpatterns: list[Any] = [
    # Matches any id, so that a malformed one gets the same answer as one that does not exist.
    re_path(r"^progress/ws/(?P<job_id>[^/]+)/?$", ProgressConsumer.as_asgi()),
    re_path(r"^progress/ws/?$", ProgressConsumer.as_asgi()),
]

_stream: Any = event_stream  # an ASGI application, which Django's types don't expect here
http_urlpatterns: list[Any] = [
    re_path(r"^progress/events/(?P<job_id>[^/]+)/?$", _stream),
    re_path(r"^progress/events/?$", _stream),
]

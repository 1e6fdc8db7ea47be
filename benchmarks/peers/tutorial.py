"""The shape of the Channels tutorial: a group per job, each socket a member, a handler that sends JSON.

``BENCH_LAYER`` chooses the layer: ``memory``, ``core`` or ``pubsub`` (those two at ``REDIS_URL``).
"""

import os
from typing import Any

from django.conf import settings

LAYERS = {
    "memory": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
    "core": {"BACKEND": "channels_redis.core.RedisChannelLayer"},
    "pubsub": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"},
}


def layer_settings() -> dict[str, Any]:
    """Return CHANNEL_LAYERS for the chosen layer."""
    chosen = dict(LAYERS[os.environ.get("BENCH_LAYER", "memory")])
    if url := os.environ.get("REDIS_URL"):
        # Each waiting consumer of the core layer holds a connection, and redis-py allows 100 unless told. The layer
        # waits five seconds for a message, which redis-py takes for a dead connection by default: the consumer ends.
        chosen["CONFIG"] = {"hosts": [{"address": url, "max_connections": 20_000, "socket_timeout": None}]}
    return {"default": chosen}


if not settings.configured:
    settings.configure(ALLOWED_HOSTS=["*"], CHANNEL_LAYERS=layer_settings(), SECRET_KEY="bench")

import django  # noqa: E402

django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import re_path  # noqa: E402

from benchmarks import payload  # noqa: E402
from benchmarks.peers import drive  # noqa: E402


class ProgressConsumer(AsyncJsonWebsocketConsumer):
    """As in the tutorial."""

    async def connect(self) -> None:
        """Join the job's group."""
        self.group = f"progress_{self.scope['url_route']['kwargs']['job_id']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        """Leave it."""
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def job_progress(self, event: dict[str, Any]) -> None:
        """Send an event of the group to the socket."""
        await self.send_json(event["message"])


async def control(scope: Any, receive: Any, send: Any) -> None:
    """Answer the control message."""
    await drive.answer_asgi(scope, receive, send, work)


async def work(order: drive.Order) -> str:
    """Send events to the group."""
    order.separators = payload.SPACED
    layer = get_channel_layer()

    async def publish(event: dict[str, Any]) -> None:
        await layer.group_send(f"progress_{payload.JOB}", {"type": "job.progress", "message": event})

    return await drive.run(order, order.messages(), publish)


application = ProtocolTypeRouter(
    {
        "websocket": URLRouter(
            [
                re_path(r"^bench/run$", control),
                re_path(r"^progress/ws/(?P<job_id>[^/]+)$", ProgressConsumer.as_asgi()),
            ]
        )
    }
)

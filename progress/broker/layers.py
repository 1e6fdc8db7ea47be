"""Which channel layer reaches other processes, if any."""

import contextlib
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.conf import settings
from django.utils.module_loading import import_string

from .places import SharedCount


def configured() -> Any:
    """Return the channel layer, if there is one that reaches other processes.

    Not the in-memory layer: within a process, events go to the hub directly.
    """
    layer = get_channel_layer()
    return None if isinstance(layer, InMemoryChannelLayer) else layer


def are_configured() -> bool:
    """Return whether the settings name such a layer, without importing it."""
    backend = (getattr(settings, "CHANNEL_LAYERS", None) or {}).get("default", {}).get("BACKEND", "")
    return backend not in ("", "channels.layers.InMemoryChannelLayer")


def shared_count(layer: Any) -> SharedCount | None:
    """Return the count of places in the Redis of a channel layer; None if it is no layer of channels-redis.

    Of several Redis servers it is the first: all that count together have the same configuration.
    """
    if not any(base.__module__.startswith("channels_redis.") for base in type(layer).__mro__):
        return None
    from channels_redis.utils import decode_hosts  # here, since a site may have another layer, and no Redis

    from .redis_places import RedisPlaces

    config = settings.CHANNEL_LAYERS["default"].get("CONFIG", {})
    return RedisPlaces(decode_hosts(config.get("hosts"))[0], config.get("prefix", "asgi"))


def load() -> None:
    """Import the channel layer's code, so that a worker's first event does not wait for that (80 ms)."""
    with contextlib.suppress(Exception):  # it is raised again, and logged, when the layer is used
        import_string(settings.CHANNEL_LAYERS["default"]["BACKEND"])

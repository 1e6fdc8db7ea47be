"""Which channel layer reaches other processes, if any."""

import contextlib
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.conf import settings
from django.utils.module_loading import import_string


def configured() -> Any:
    """Return the channel layer, if there is one that reaches other processes.

    Not the in-memory layer: within a process, events go to the hub directly.
    """
    layer = get_channel_layer()
    return None if isinstance(layer, InMemoryChannelLayer) else layer


def load() -> None:
    """Import the channel layer's code, so that a worker's first event does not wait for that (80 ms)."""
    with contextlib.suppress(Exception):  # it is raised again, and logged, when the layer is used
        import_string(settings.CHANNEL_LAYERS["default"]["BACKEND"])

"""Which channel layer reaches other processes, if any."""

import contextlib
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.conf import settings
from django.utils.module_loading import import_string


def configured() -> Any:
    """Return the channel layer, or None without one.

    The in-memory layer counts as none: it reaches no other process, and within this one events go to
    the hub directly.
    """
    layer = get_channel_layer()
    return None if isinstance(layer, InMemoryChannelLayer) else layer


def load() -> None:
    """Import the channel layer's code, so that a worker's first event does not wait for that (80 ms)."""
    with contextlib.suppress(Exception):  # whoever uses it says what is wrong with it
        import_string(settings.CHANNEL_LAYERS["default"]["BACKEND"])

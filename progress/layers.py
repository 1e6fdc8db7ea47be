"""Which channel layer reaches other processes, if any."""

from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer


def configured() -> Any:
    """Return the channel layer, or None without one.

    The in-memory layer counts as none: it reaches no other process, and within this one events go to
    the hub directly.
    """
    layer = get_channel_layer()
    return None if isinstance(layer, InMemoryChannelLayer) else layer

"""What the tests of the broker share."""

import atexit

import pytest

from progress.broker import layers
from progress.broker.publisher import Publisher
from tests.progress.broker.publishing import Layer, Stoppable


@pytest.fixture
def layer(monkeypatch, settings):
    layer = Layer()
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "named"}}  # so that there is one; which, the next line says
    monkeypatch.setattr(layers, "get_channel_layer", lambda: layer)
    return layer


@pytest.fixture
def own(layer, monkeypatch):
    made = Stoppable()
    monkeypatch.setattr(Publisher, "_current", made)
    yield made
    layer.gate.set()
    atexit.unregister(made.flush)
    made.stop()

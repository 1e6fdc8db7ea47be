"""What the tests of the broker share."""

import asyncio
import atexit

import pytest

from progress.broker import layers, subscriber
from progress.broker.publisher import Publisher
from progress.broker.subscriber import Subscriber
from tests.progress.broker.publishing import Layer, Stoppable
from tests.progress.broker.subscribing import PubSub


@pytest.fixture
def layer(monkeypatch, settings):
    """The channel layer that a publisher finds, and that a subscriber is given."""
    layer = Layer()
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "named"}}  # so that there is one; which, the next line says
    monkeypatch.setattr(layers, "get_channel_layer", lambda: layer)
    return layer


# The publisher


@pytest.fixture
def own(layer, monkeypatch):
    """The publisher of this process."""
    made = Stoppable()
    monkeypatch.setattr(Publisher, "_current", made)
    yield made
    layer.gate.set()
    atexit.unregister(made.flush)
    made.stop()


# The subscriber


@pytest.fixture(autouse=True)
def quick(monkeypatch, settings):
    """No subscriber keeps a test waiting."""
    settings.PROGRESS_SYNC_SECONDS = 3600  # what is to happen at once is not left to the next probe
    monkeypatch.setattr(subscriber, "LAYER_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(subscriber, "ANSWER_SECONDS", 0.5)  # a busy machine can stall a layer that answers


@pytest.fixture
async def delivered():
    return []


@pytest.fixture
async def linked(layer, delivered):
    made = Subscriber(layer, delivered.append, lambda: None)
    yield made
    made.stop()
    await asyncio.sleep(0)


@pytest.fixture
def server():
    return PubSub()

"""How the subscriber notices that a channel layer brings nothing, though it says nothing of it."""

import asyncio

from progress.broker.subscriber import Subscriber
from tests.progress.broker.subscribing import whole
from tests.progress.watching import eventually


async def test_probe__a_layer_that_brings_nothing_is_noticed_and_trusted_again_later(layer, settings, logged):
    settings.PROGRESS_SYNC_SECONDS = 0.001
    trouble = []
    linked = Subscriber(layer, trouble.append, lambda: trouble.append("trouble"))
    await whole(linked)
    assert trouble == []
    layer.is_deaf = True
    await eventually(lambda: trouble)
    assert not linked.is_healthy
    layer.is_deaf = False
    await whole(linked)
    assert set(trouble) == {"trouble"}  # an echo is not delivered
    linked.stop()


async def test_probe__waits_for_a_channel(server, settings):
    settings.PROGRESS_SYNC_SECONDS = 0.001
    trouble = []
    server.is_opening = asyncio.Event()
    linked = Subscriber(server, print, lambda: trouble.append("trouble"))
    for _ in range(2):
        await asyncio.sleep(0.02)
        assert trouble == []
        assert not linked.is_healthy
        server.is_opening.set()
        await whole(linked)
        server.is_opening.clear()
        await server.inbox.put(ConnectionError("cut"))
        await eventually(lambda: not linked.is_healthy)
    server.is_opening.set()
    await linked.stop()


async def test_probe__a_layer_that_was_cut_is_trusted_after_an_echo(layer, settings):
    settings.PROGRESS_SYNC_SECONDS = 0.001
    linked = Subscriber(layer, print, lambda: None)
    await whole(linked)
    layer.is_deaf = True
    await layer.inbox.put(ConnectionError("cut"))
    await eventually(lambda: linked._channel is None)
    for _ in range(100):
        assert not linked.is_healthy
        await asyncio.sleep(0)
    await linked.stop()


async def test_probe__a_layer_that_takes_no_message_is_said(layer, settings, logged):
    settings.PROGRESS_SYNC_SECONDS = 0.001
    linked = Subscriber(layer, print, lambda: None)
    await whole(linked)

    async def refuses(*_: object) -> None:
        raise ConnectionError("no message")

    layer.send = refuses
    await eventually(lambda: not linked.is_healthy)
    assert any("no message" in line for line in logged.of("progress.broker.subscriber"))
    await linked.stop()


async def test_probe__a_layer_that_works_is_left_alone(layer, linked):
    await whole(linked)
    layer.send = None  # would be said
    await asyncio.sleep(0.02)
    assert linked.is_healthy

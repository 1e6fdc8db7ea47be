"""The subscriber to a channel layer that works: groups, and what it brings."""

import asyncio

import pytest

from progress.broker.subscriber import Subscriber
from tests.progress.broker.subscribing import whole
from tests.progress.watching import eventually


async def test_join__and_receive(layer, linked, delivered):
    await whole(linked)
    await linked.join("a")
    assert layer.groups == {"a"}
    await layer.inbox.put({"type": "news"})
    await eventually(lambda: delivered == [{"type": "news"}])


async def test_join__before_the_channel_is_there(layer, delivered):
    linked = Subscriber(layer, delivered.append, lambda: None)
    await linked.join("a")
    assert not linked.is_healthy
    await whole(linked)
    assert layer.groups == {"a"}
    linked.stop()


async def test_join__twice_is_once(layer, linked):
    await whole(linked)
    await asyncio.gather(*[linked.join("a") for _ in range(100)])
    assert layer.calls == [("add", "a")]


async def test_leave__soon(layer, linked):
    await whole(linked)
    await linked.join("a")
    linked.leave("a")
    await eventually(lambda: layer.groups == set())


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("ends_joined", [True, False])
async def test_join_and_leave__the_last_wish_wins(layer, linked, ends_joined, times):
    await whole(linked)
    layer.passing = asyncio.Event()
    joining = []
    for _ in range(times):
        joining.append(asyncio.ensure_future(linked.join("a")))
        await asyncio.sleep(0)
        linked.leave("a")
        await asyncio.sleep(0)
    if ends_joined:
        joining.append(asyncio.ensure_future(linked.join("a")))
    await asyncio.sleep(0)
    layer.passing.set()
    await asyncio.gather(*joining)
    await eventually(lambda: layer.groups == ({"a"} if ends_joined else set()))
    await whole(linked)

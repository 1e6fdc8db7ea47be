"""The subscriber to a channel layer that raises, hangs and comes back."""

import asyncio
import logging

import pytest

from progress.broker import subscriber
from progress.broker.subscriber import Subscriber
from tests.progress.broker.subscribing import whole
from tests.progress.watching import eventually


async def test_join__a_layer_that_raises_is_passed_over_and_joined_later(layer, linked, logged):
    await whole(linked)
    layer.broken = True
    await linked.join("a")
    await linked.join("b")
    assert not linked.is_healthy
    layer.broken = False
    await linked.settle()
    assert linked.is_healthy
    assert layer.groups == {"a", "b"}
    assert len(logged.of("progress.broker.subscriber")) == 1


async def test_join__a_layer_that_hangs_holds_many_up_no_longer_than_one(layer, linked):
    await whole(linked)
    layer.hangs = True
    await asyncio.gather(*[linked.join(f"job.{number}") for number in range(100)])
    assert len(layer.calls) == 1
    layer.hangs = False
    await linked.settle()
    assert len(layer.groups) == 100


async def test_subscriber__a_layer_that_is_down_at_first(layer, delivered):
    layer.broken = True
    linked = Subscriber(layer, delivered.append, lambda: None)
    await linked.join("a")
    assert not linked.is_healthy
    layer.broken = False
    await whole(linked)
    assert layer.groups == {"a"}
    linked.stop()


async def test_subscriber__joins_anew_what_broke(layer, linked, delivered):
    await linked.join("a")
    await whole(linked)
    await layer.inbox.put(ConnectionError("cut"))
    await eventually(lambda: layer.channels == 2)
    await whole(linked)
    assert layer.groups == {"a"}
    await layer.inbox.put({"type": "after"})
    await eventually(lambda: delivered == [{"type": "after"}])


async def test_subscriber__broke_while_a_group_was_joined(layer, linked):
    """What the old channel has joined, the new one has not."""
    await whole(linked)
    layer.passing = asyncio.Event()
    joining = asyncio.ensure_future(linked.join("a"))
    await eventually(lambda: layer.calls == [("add", "a")])
    await layer.inbox.put(ConnectionError("cut"))
    await eventually(lambda: linked._channel is None)
    layer.passing.set()
    await joining
    await whole(linked)
    assert layer.calls.count(("add", "a")) == 2


async def test_subscriber__says_once_that_it_broke(layer, linked, logged):
    await whole(linked)
    layer.broken = True
    await layer.inbox.put(ConnectionError("cut"))
    tries = 0

    async def new_channel() -> str:
        nonlocal tries
        tries += 1
        raise ConnectionError("still down")

    layer.new_channel = new_channel
    await eventually(lambda: tries > 5)
    assert len(logged.of("progress.broker.subscriber")) == 1


async def test_subscriber__a_second_trouble_is_told_again(layer, linked, logged):
    await whole(linked)
    for number in (1, 2):
        layer.broken = True
        await linked.join("a")
        layer.broken = False
        await linked.settle()
        assert linked.is_healthy
        assert len(logged.of("progress.broker.subscriber")) == number
        linked.leave("a")
        await eventually(lambda: layer.groups == set())


@pytest.mark.parametrize("word", ["echo", "message"])
async def test_subscriber__a_message_ends_a_trouble_too(layer, linked, logged, word):
    await whole(linked)
    for number in (1, 2):
        layer.broken = True
        await linked.join(f"{number}")
        assert len(logged.of("progress.broker.subscriber")) == number
        layer.broken = False
        await layer.inbox.put({"type": subscriber.ECHO if word == "echo" else "news"})
        await eventually(layer.inbox.empty)
        linked._failing = False


@pytest.mark.parametrize("message", [7, {}, {"type": "news"}, None], ids=repr)
async def test_subscriber__a_message_that_can_not_be_understood_changes_nothing(layer, logged, message):
    got = []

    def deliver(message: dict[str, str]) -> None:
        got.append(message["text"])

    linked = Subscriber(layer, deliver, lambda: None)
    await linked.join("a")
    await whole(linked)
    await layer.inbox.put(message)
    await layer.inbox.put({"text": "hello"})
    await eventually(lambda: got == ["hello"])
    assert layer.channels == 1
    assert linked.is_healthy
    assert len(logged.of("progress.broker.subscriber", logging.ERROR)) == 1
    linked.stop()

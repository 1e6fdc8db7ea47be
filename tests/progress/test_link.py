"""The link to a channel layer, which may raise, hang and come back."""

import asyncio

import pytest

from progress import link
from progress.link import Link
from tests.progress.watching import ScriptedLayer, eventually


@pytest.fixture
def layer():
    return ScriptedLayer()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(link, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(link, "ANSWER_SECONDS", 0.5)  # a busy machine can stall a layer that answers


@pytest.fixture
async def delivered():
    return []


@pytest.fixture
async def linked(layer, delivered):
    made = Link(layer, delivered.append, lambda: None)
    yield made
    made.stop()
    await asyncio.sleep(0)


async def whole(linked):
    await eventually(lambda: linked.is_whole)


async def test_join__and_receive(layer, linked, delivered):
    await whole(linked)
    await linked.join("a")
    assert layer.groups == {"a"}
    await layer.inbox.put({"type": "news"})
    await eventually(lambda: delivered == [{"type": "news"}])


async def test_join__before_the_channel_is_there(layer, delivered):
    linked = Link(layer, delivered.append, lambda: None)
    await linked.join("a")
    assert not linked.is_whole
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


@pytest.mark.parametrize("ends_joined", [True, False])
async def test_join_and_leave__the_last_wish_wins(layer, linked, ends_joined):
    await whole(linked)
    layer.passing = asyncio.Event()
    joining = []
    for _ in range(3):
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


async def test_join__a_layer_that_raises_is_passed_over_and_joined_later(layer, linked, logged):
    await whole(linked)
    layer.broken = True
    await linked.join("a")
    await linked.join("b")
    assert not linked.is_whole
    layer.broken = False
    await linked.settle()
    assert linked.is_whole
    assert layer.groups == {"a", "b"}
    assert len(logged.of("progress.link")) == 1


async def test_join__a_layer_that_hangs_holds_many_up_no_longer_than_one(layer, linked):
    await whole(linked)
    layer.hangs = True
    await asyncio.gather(*[linked.join(f"job.{number}") for number in range(100)])
    assert len(layer.calls) == 1
    layer.hangs = False
    await linked.settle()
    assert len(layer.groups) == 100


async def test_link__a_layer_that_is_down_at_first(layer, delivered):
    layer.broken = True
    linked = Link(layer, delivered.append, lambda: None)
    await linked.join("a")
    assert not linked.is_whole
    layer.broken = False
    await whole(linked)
    assert layer.groups == {"a"}
    linked.stop()


async def test_link__joins_anew_what_broke(layer, linked, delivered):
    await linked.join("a")
    await whole(linked)
    await layer.inbox.put(ConnectionError("cut"))
    await eventually(lambda: layer.channels == 2)
    await whole(linked)
    assert layer.groups == {"a"}
    await layer.inbox.put({"type": "after"})
    await eventually(lambda: delivered == [{"type": "after"}])


async def test_link__broke_while_a_group_was_joined(layer, linked):
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


async def test_link__says_once_that_it_broke(layer, linked, logged):
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
    assert len(logged.of("progress.link")) == 1


async def test_stop__nothing_goes_on(layer, delivered):
    before = asyncio.all_tasks()
    linked = Link(layer, delivered.append, lambda: None)
    await linked.join("a")
    await whole(linked)
    linked.leave("a")
    linked.stop()
    await eventually(lambda: asyncio.all_tasks() == before)


async def test_probe__a_layer_that_brings_nothing_is_noticed_and_trusted_again_later(layer, settings, logged):
    settings.PROGRESS_SYNC_SECONDS = 0.001
    trouble = []
    linked = Link(layer, trouble.append, lambda: trouble.append("trouble"))
    await whole(linked)
    assert trouble == []
    layer.is_deaf = True
    await eventually(lambda: trouble)
    assert not linked.is_whole
    layer.is_deaf = False
    await whole(linked)
    assert set(trouble) == {"trouble"}  # an echo is not delivered
    linked.stop()

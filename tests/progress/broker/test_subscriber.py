"""The subscriber to a channel layer, which may raise, hang and come back."""

import asyncio
import logging

import pytest

from progress.broker import subscriber
from progress.broker.subscriber import Subscriber
from tests.progress.watching import ScriptedLayer, eventually


@pytest.fixture
def layer():
    return ScriptedLayer()


@pytest.fixture(autouse=True)
def quick(monkeypatch, settings):
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


async def whole(linked):
    await eventually(lambda: linked.is_healthy)


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


async def test_stop__nothing_goes_on(layer, delivered):
    before = asyncio.all_tasks()
    linked = Subscriber(layer, delivered.append, lambda: None)
    await linked.join("a")
    await whole(linked)
    linked.leave("a")
    linked.stop()
    await eventually(lambda: asyncio.all_tasks() == before)


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


# Giving back


class PubSub(ScriptedLayer):
    """As channels-redis's: who receives first makes the channel, whose receiver is cancelled forgets it, and one
    that is cut off while it leaves a group does not try that again. ``subscribed`` is what its server knows."""

    def __init__(self) -> None:
        super().__init__()
        self.members: set[tuple[str, str]] = set()
        self.subscribed: set[str] = set()
        self.is_opening: asyncio.Event | None = None
        self.hears_late = False  # does what it is asked, and does not say so

    async def new_channel(self) -> str:
        if self.is_opening is not None:
            await self.is_opening.wait()
        channel = await super().new_channel()
        self.subscribed.add(channel)
        return channel

    async def receive(self, channel: str) -> object:
        try:
            return await super().receive(channel)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            self.subscribed.discard(channel)
            raise

    async def group_add(self, group: str, channel: str) -> None:
        assert channel in self.subscribed, "it only takes channels that are there"
        self.members.add((group, channel))
        if self.hears_late:
            self.subscribed.add(group)
        await super().group_add(group, channel)
        self.subscribed.add(group)

    async def group_discard(self, group: str, channel: str) -> None:
        if (group, channel) in self.members:
            self.members.discard((group, channel))
            if not any(group == other for other, _ in self.members):
                await super().group_discard(group, channel)
                self.subscribed.discard(group)


@pytest.fixture
def server():
    return PubSub()


async def until_over():
    """Wait until no task is left but the test's."""
    await eventually(lambda: len(asyncio.all_tasks()) == 1)


async def test_stop__before_it_has_begun(server):
    Subscriber(server, print, lambda: None).stop()
    await until_over()
    assert server.subscribed == set()


async def test_stop__while_its_channel_is_made(server):
    server.is_opening = asyncio.Event()
    linked = Subscriber(server, print, lambda: None)
    joining = asyncio.ensure_future(linked.join("a"))
    await asyncio.sleep(0.001)
    linked.stop()
    await asyncio.sleep(0.001)
    server.is_opening.set()
    await joining
    await until_over()
    assert server.channels == 1
    assert server.subscribed == set()


@pytest.mark.parametrize("turns", range(12))
async def test_stop__at_any_moment_of_the_beginning(server, turns, monkeypatch):
    """Before the first message is waited for, say."""
    monkeypatch.setattr(subscriber, "ANSWER_SECONDS", 60)  # nothing is left to it
    linked = Subscriber(server, print, lambda: None)
    joining = asyncio.ensure_future(linked.join("a"))
    for _ in range(turns):
        await asyncio.sleep(0)
    await linked.stop()
    assert server.subscribed == server.members == set()
    await joining
    await until_over()


async def test_stop__while_a_group_is_joined(server):
    linked = Subscriber(server, print, lambda: None)
    await whole(linked)
    server.passing = asyncio.Event()
    joining = asyncio.ensure_future(linked.join("a"))
    await eventually(lambda: server.calls)
    linked.stop()
    await asyncio.sleep(0.001)
    server.passing.set()
    await joining
    await until_over()
    assert server.subscribed == set()


@pytest.mark.parametrize("is_watched", [True, False])
@pytest.mark.parametrize("trouble", ["broken", "hangs"])
async def test_stop__tries_until_the_layer_answers(server, monkeypatch, trouble, is_watched):
    monkeypatch.setattr(subscriber, "ANSWER_SECONDS", 0.01)
    linked = Subscriber(server, print, lambda: None)
    await linked.join("a")
    await linked.join("b")
    await whole(linked)
    setattr(server, trouble, True)
    if not is_watched:
        linked.leave("a")
        linked.leave("b")
    linked.stop()
    await eventually(lambda: server.calls.count(("discard", "a")) >= 1 and len(server.calls) > 3)
    setattr(server, trouble, False)
    await until_over()
    assert server.subscribed == server.members == set()


async def test_stop__of_an_old_link_disturbs_no_new_one(server, delivered, monkeypatch):
    monkeypatch.setattr(subscriber, "ANSWER_SECONDS", 0.01)
    old = Subscriber(server, print, lambda: None)
    await old.join("a")
    await whole(old)
    server.hangs = True
    old.stop()
    await eventually(lambda: ("discard", "a") in server.calls)
    new = Subscriber(server, delivered.append, lambda: None)
    server.hangs = False
    await new.join("a")
    await whole(new)
    await eventually(lambda: old._running.done())
    assert new.is_healthy
    assert server.subscribed == {"a", "channel-2"}
    await server.inbox.put({"type": "news"})
    await eventually(lambda: delivered == [{"type": "news"}])
    new.stop()
    await until_over()
    assert server.subscribed == set()


async def test_leave__a_layer_that_was_cut_off_while_it_left_is_made_to_leave(server, monkeypatch):
    monkeypatch.setattr(subscriber, "ANSWER_SECONDS", 0.01)
    linked = Subscriber(server, print, lambda: None)
    await linked.join("a")
    await whole(linked)
    server.hangs = True
    linked.leave("a")
    await eventually(lambda: linked._failing)
    server.hangs = False
    await linked.settle()
    assert server.subscribed == {"channel-1"}
    linked.stop()
    await until_over()


async def test_join__that_timed_out_though_the_layer_did_it_is_left_again(server, monkeypatch):
    monkeypatch.setattr(subscriber, "ANSWER_SECONDS", 0.01)
    linked = Subscriber(server, print, lambda: None)
    await whole(linked)
    server.hangs = server.hears_late = True
    await linked.join("a")
    assert server.subscribed == {"a", "channel-1"}
    server.hangs = False
    linked.leave("a")
    await linked.settle()
    assert server.subscribed == {"channel-1"}
    linked.stop()
    await until_over()


async def test_subscriber__that_broke_gives_back_what_it_can(server, settings):
    settings.PROGRESS_SYNC_SECONDS = 0.001
    linked = Subscriber(server, print, lambda: None)
    await linked.join("a")
    await linked.join("b")
    await whole(linked)
    discard = server.group_discard

    async def refuses_one(group: str, channel: str) -> None:
        if group == "a":
            raise ConnectionError("not this one")
        await discard(group, channel)

    server.group_discard = refuses_one
    await server.inbox.put(ConnectionError("cut"))
    await eventually(lambda: server.channels == 2)
    await whole(linked)
    assert "channel-1" not in server.subscribed
    assert ("b", "channel-1") not in server.members
    server.group_discard = discard
    linked.stop()
    await until_over()


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

"""What the subscriber gives back: its groups, its channel, its tasks, whatever the layer did meanwhile."""

import asyncio

import pytest

from progress.broker import subscriber
from progress.broker.subscriber import Subscriber
from tests.progress.broker.subscribing import whole
from tests.progress.watching import eventually


async def until_over():
    """Wait until no task is left but the test's."""
    await eventually(lambda: len(asyncio.all_tasks()) == 1)


async def test_stop__nothing_is_continued_by(layer, delivered):
    before = asyncio.all_tasks()
    linked = Subscriber(layer, delivered.append, lambda: None)
    await linked.join("a")
    await whole(linked)
    linked.leave("a")
    linked.stop()
    await eventually(lambda: asyncio.all_tasks() == before)


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

"""The publisher: what it sends, and when."""

import asyncio
import threading
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.events import Event
from jobs.states import EventKind
from progress.broker import publisher
from progress.broker.messages import ACCESS_GROUP, FEED_GROUP
from tests.progress.broker.publishing import an_event, hold
from tests.progress.watching import WAIT_SECONDS


def test_publish__sends_an_event(own, layer):
    publisher.publish(None, an_event(7))
    own.flush()
    assert layer.seqs() == [7]


def test_publish__without_layer_and_watchers_makes_no_text(monkeypatch):
    monkeypatch.setattr(publisher, "encoded", lambda _: pytest.fail("made for nobody"))
    publisher.publish(None, an_event())


def test_put__is_sent_in_order(own, layer):
    for seq in range(1, 1000):
        own.put(an_event(seq))
    own.flush()
    assert layer.seqs() == list(range(1, 1000))


def test_flush__does_not_wait_for_more_to_come(own, layer, monkeypatch):
    monkeypatch.setattr(publisher, "GATHER_SECONDS", 3600)
    for seq in (1, 2, 3):
        own.put(an_event(seq))
        own.flush()
        assert layer.seqs() == list(range(1, seq + 1))


def test_put__a_burst_is_one_message(own, layer):
    hold(own, layer)
    for seq in range(1, 101):
        own.put(an_event(seq))
    layer.gate.set()
    own.flush()
    assert len(layer.sent) == 2
    assert layer.seqs() == list(range(1, 101))


def test_put__what_comes_during_a_message_waits_a_moment_for_more(own, layer, monkeypatch):
    has_slept, may_go_on = threading.Event(), threading.Event()

    async def gather(seconds):
        assert seconds == publisher.GATHER_SECONDS
        has_slept.set()
        await asyncio.get_running_loop().run_in_executor(None, may_go_on.wait)

    hold(own, layer)
    monkeypatch.setattr(publisher, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": gather}))
    own.put(an_event(1))
    layer.gate.set()
    assert has_slept.wait(WAIT_SECONDS)
    own.put(an_event(2))
    own.put(an_event(3))
    sent = len(layer.sent)
    may_go_on.set()
    own.flush()
    assert len(layer.sent) == sent + 1
    assert layer.seqs()[-3:] == [1, 2, 3]


def test_put__never_waits_and_drops_the_oldest(own, layer, settings):
    settings.PROGRESS_PUBLISH_QUEUE = 10
    hold(own, layer)
    for seq in range(1, 101):
        own.put(an_event(seq))
    assert (len(own._queue), own._dropped) == (10, 90)
    layer.gate.set()
    own.flush()
    assert layer.seqs() == list(range(91, 101))


def test_put__of_two_threads_at_once_wakes_the_publisher(own, layer):
    """Neither may take the other's event for one that the publisher is about to see."""

    class Slow(deque[Event]):
        both = threading.Barrier(2)

        def append(self, publication: Event) -> None:
            super().append(publication)
            try:
                self.both.wait(0.05)
            except threading.BrokenBarrierError:
                return  # the other is kept out until this one is through

    own._queue = Slow()
    threads = [threading.Thread(target=own.put, args=[an_event(seq)]) for seq in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    own.flush()
    assert sorted(layer.seqs()) == [1, 2]


def test_put__of_many_threads(own, layer):
    def work(name: str) -> None:
        for seq in range(200):
            own.put(an_event(seq, name))

    threads = [threading.Thread(target=work, args=[f"job-{number}"]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    own.flush()
    assert all(layer.seqs(f"job-{number}") == list(range(200)) for number in range(8))


def test_flush__waits_for_what_is_being_sent(own, layer):
    hold(own, layer)
    flushing = threading.Thread(target=own.flush)
    flushing.start()
    flushing.join(0.1)
    assert flushing.is_alive()
    layer.gate.set()
    flushing.join(WAIT_SECONDS)
    assert not flushing.is_alive()


def test_run__sleeps_while_there_is_nothing(own, layer, monkeypatch):
    monkeypatch.setattr(publisher, "GATHER_SECONDS", 0.001)
    turns, send_queue = [], own._send_queue
    monkeypatch.setattr(own, "_send_queue", lambda: (turns.append(1), send_queue())[1])
    own.put(an_event(1))
    own.flush()
    threading.Event().wait(0.05)
    assert len(turns) <= 2


def test_run__lets_what_comes_after_a_batch_gather(own, layer, monkeypatch):
    monkeypatch.setattr(publisher, "GATHER_SECONDS", 3600.0)
    own.put(an_event(1))
    own.flush()
    assert layer.tried.acquire(timeout=WAIT_SECONDS)
    own.put(an_event(2))
    assert not layer.tried.acquire(timeout=0.05)


def test_send__all_at_once_where_the_layer_can(own, layer):
    many: list[list[tuple[str, Any]]] = []

    async def group_send_many(messages: Any) -> None:
        many.append(list(messages))

    layer.group_send_many = group_send_many
    own.put(an_event(1, kind=EventKind.STATUS))
    own.flush()
    assert [[group for group, _ in messages] for messages in many] == [["progress.job.job-1", FEED_GROUP]]
    assert layer.sent == []


def test_feed__learns_once_of_each_job_that_changed_its_status(own, layer):
    hold(own, layer)
    for seq, kind in enumerate(["status", "tick", "status", "log", "stage"]):
        own.put(an_event(seq, kind=kind))
    own.put(an_event(1, "job-2"))
    layer.gate.set()
    own.flush()
    assert [message for group, message in layer.sent if group == FEED_GROUP] == [
        {"type": "progress.changed", "job_ids": ["job-1"]}
    ]


def test_publish_deletion__wakes_watchers_and_feeds(own, layer):
    publisher.publish_deletion(None, "job-1")
    own.flush()
    assert layer.sent == [
        ("progress.job.job-1", {"type": "progress.deleted", "job_id": "job-1"}),
        (FEED_GROUP, {"type": "progress.changed", "job_ids": ["job-1"]}),
    ]


def test_publish_deletion__without_a_layer_starts_nothing(monkeypatch):
    monkeypatch.setattr(publisher.Publisher, "of_this_process", lambda: pytest.fail("started for nobody"))
    publisher.publish_deletion(None, "job-1")


def test_access__that_has_changed_is_told_once_for_all_changes(own, layer):
    hold(own, layer)
    for _ in range(100):
        own.put_access_changed()
    own.put(an_event(1))
    layer.gate.set()
    own.flush()
    told = [message for group, message in layer.sent if group == ACCESS_GROUP]
    assert told == [{"type": "progress.access_changed"}]
    assert layer.seqs() == [1]


def test_access__that_has_changed_wakes_the_publisher(own, layer):
    own.put_access_changed()
    assert layer.tried.acquire(timeout=WAIT_SECONDS)


def test_access__without_a_layer_there_is_nobody_to_tell(settings, monkeypatch):
    settings.CHANNEL_LAYERS = {}
    monkeypatch.setattr(publisher.Publisher, "of_this_process", lambda: pytest.fail("nobody"))
    publisher.tell_access_changed()

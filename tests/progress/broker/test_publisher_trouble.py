"""The publisher and what goes wrong: it harms no job, and says so once in a while."""

import asyncio
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from progress.broker import layers, publisher
from tests.progress.broker.publishing import Stoppable, an_event, hold
from tests.progress.watching import WAIT_SECONDS


def test_flush__gives_up_in_time(own, layer, settings):
    settings.PROGRESS_FLUSH_SECONDS = 0.01
    hold(own, layer)
    own.put(an_event(1))
    own.flush()
    assert layer.seqs() == []


def test_layer__that_raises_is_complained_of_once_in_a_while(own, layer, logged, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(publisher, "time", SimpleNamespace(monotonic=lambda: now))
    layer.broken = True
    for seq in range(3):
        own.put(an_event(seq))
        own.flush()
    assert len(logged.of("progress.broker.publisher")) == 1
    now += publisher.COMPLAIN_SECONDS
    own.put(an_event(3))
    own.flush()
    assert "4 so far" in logged.of("progress.broker.publisher")[1]
    layer.broken = False
    own.put(an_event(4))
    own.flush()
    assert layer.seqs() == [4]


def test_layer__that_hangs_is_given_up(own, layer, logged, monkeypatch):
    monkeypatch.setattr(publisher, "LAYER_SEND_SECONDS", 0.01)
    layer.hangs = True
    own.put(an_event(1))
    own.flush()
    assert len(logged.of("progress.broker.publisher")) == 1
    layer.hangs = False
    own.put(an_event(2))
    own.flush()
    assert layer.seqs() == [2]


def test_thread__that_can_not_be_started_is_complained_of_once_in_a_while(layer, logged, monkeypatch):
    """At a limit of threads; or as the process ends, when Python 3.12 starts none."""

    def refuses(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(publisher.Publisher, "_current", None)
    monkeypatch.setattr(publisher, "_complained_at", float("-inf"))
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuses)
        publisher.publish(None, an_event(1))
        publisher.publish_deletion(None, "job-1")
        publisher.tell_access_changed()
    assert len(logged.of("progress.broker.publisher")) == 1
    monkeypatch.setattr(publisher, "Publisher", Stoppable)
    publisher.publish(None, an_event(2))
    own = Stoppable.of_this_process()
    own.flush()
    own.stop()
    assert layer.seqs() == [2]


@pytest.mark.django_db(transaction=True)
def test_send__a_layer_that_can_not_be_made_ends_nothing(own, layer, logged, monkeypatch):
    tried = threading.Event()

    def fails() -> Any:
        tried.set()
        raise ZeroDivisionError("no such layer")

    with monkeypatch.context() as broken:
        broken.setattr(layers, "get_channel_layer", fails)
        own.put(an_event(1))
        assert tried.wait(WAIT_SECONDS)
        own.flush()
    own.put(an_event(2))
    own.flush()
    assert layer.seqs() == [2]
    assert "no such layer" in logged.of("progress.broker.publisher")[0]


def test_layer__that_cancels_a_send_does_not_end_the_publisher(own, layer, logged, monkeypatch):
    send = layer.group_send

    async def cancelled(*_: Any) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(layer, "group_send", cancelled)
        own.put(an_event(1))
        own.flush()
    assert layer.group_send == send
    own.put(an_event(2))
    own.flush()
    assert layer.seqs() == [2]
    assert len(logged.of("progress.broker.publisher")) == 1


def test_send__an_event_that_can_not_be_encoded_takes_no_other_along(own, layer, logged):
    hold(own, layer)
    own.put(an_event(1))
    own.put(replace(an_event(2), progress=float("inf")))
    own.put(an_event(3))
    own.put(an_event(1, "job-2"))
    layer.gate.set()
    own.flush()
    assert layer.seqs() == [1, 3]
    assert layer.seqs("job-2") == [1]
    assert "Event 2 of job job-1" in logged.of("progress.broker.messages")[0]


def test_complain__says_how_many_were_dropped(own, layer, logged):
    layer.broken = True
    hold(own, layer)
    for seq in range(3):
        own.put(an_event(seq))
    layer.gate.set()
    own.flush()
    assert "; 1 so far" in logged.of("progress.broker.publisher")[0]
    assert own._dropped == 4

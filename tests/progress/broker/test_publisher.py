"""The publisher: what it sends, and that it harms no job."""

import asyncio
import atexit
import subprocess
import sys
import textwrap
import threading
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.events import Event
from jobs.states import EventKind
from progress.broker import layers, publisher
from progress.broker.messages import FEED_GROUP
from progress.broker.publisher import Publisher
from tests.progress.frames import event
from tests.progress.watching import WAIT_SECONDS, ScriptedLayer

ROOT = Path(__file__).parents[3]


class Layer(ScriptedLayer):
    """One that can be held up from another thread, and tells when something was tried."""

    def __init__(self) -> None:
        super().__init__()
        self.tried = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.tried.release()
        while not self.gate.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await super().group_send(group, message)

    def seqs(self, job_id: str = "job-1") -> list[int]:
        messages = [message for group, message in self.sent if group == f"progress.job.{job_id}"]
        return [publication[2] for message in messages for publication in message["events"]]


@pytest.fixture
def layer(monkeypatch, settings):
    layer = Layer()
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "named"}}  # so that there is one; which, the next line says
    monkeypatch.setattr(layers, "get_channel_layer", lambda: layer)
    return layer


class Stoppable(Publisher):
    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            super()._run()
        self._loop.close()

    def stop(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            self._loop.call_soon_threadsafe(task.cancel)
        self._thread.join(WAIT_SECONDS)


@pytest.fixture
def own(layer, monkeypatch):
    made = Stoppable()
    monkeypatch.setattr(Publisher, "_current", made)
    yield made
    layer.gate.set()
    atexit.unregister(made.flush)
    made.stop()


def an_event(seq: int = 1, job_id: str = "job-1", kind: EventKind = EventKind.TICK) -> Event:
    return event(kind, job_id=job_id, seq=seq)


def hold(own: Publisher, layer: Layer) -> None:
    """Let the publisher begin to send something, and keep it there."""
    layer.gate.clear()
    own.put(an_event(0, "other"))
    assert layer.tried.acquire(timeout=WAIT_SECONDS)


def test_put__is_sent_in_order(own, layer):
    for seq in range(1, 1000):
        own.put(an_event(seq))
    own.flush()
    assert layer.seqs() == list(range(1, 1000))


def test_put__a_burst_is_one_message(own, layer):
    hold(own, layer)
    for seq in range(1, 101):
        own.put(an_event(seq))
    layer.gate.set()
    own.flush()
    assert len(layer.sent) == 2
    assert layer.seqs() == list(range(1, 101))


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


def test_publish__sends_an_event(own, layer):
    publisher.publish(None, an_event(7))
    own.flush()
    assert layer.seqs() == [7]


def test_publish__without_layer_and_watchers_makes_no_text(monkeypatch):
    monkeypatch.setattr(publisher, "encoded", lambda _: pytest.fail("made for nobody"))
    publisher.publish(None, an_event())


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


def script(source: str) -> str:
    """Run a worker in another process, and return what it prints."""
    head = """
        import os, sys
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        import django
        django.setup()
        from progress.broker import layers
        from jobs.events import Event
        from jobs.states import EventKind
        from django.utils import timezone
        from progress.broker.publisher import Publisher

        class Printing:
            async def group_send(self, group, message):
                print(os.getpid(), group, [publication[2] for publication in message["events"]], flush=True)

        layers.get_channel_layer = lambda: Printing()
        publication = lambda seq: Event("job-1", "e", seq, EventKind.TICK, "in_progress", 0.0, "", {}, timezone.now())
    """
    text = textwrap.dedent(head) + textwrap.dedent(source)
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout


def test_exit__waits_for_the_last_events():
    printed = script("""
        for seq in range(500):
            Publisher.of_this_process().put(publication(seq))
    """)
    assert printed.rstrip().endswith("499]")


def test_fork__the_child_has_its_own_publisher():
    printed = script("""
        Publisher.of_this_process().put(publication(1))
        Publisher.of_this_process().flush()
        Publisher._making.acquire()     # as another thread of the parent may hold it
        child = os.fork()
        if not child:
            Publisher.of_this_process().put(publication(2))
            Publisher.of_this_process().flush()
            os._exit(0)
        os.waitpid(child, 0)
        Publisher._making.release()
        Publisher.of_this_process().put(publication(3))
        Publisher.of_this_process().flush()
    """)
    pids, seqs = zip(*[(line.split()[0], line.split()[2]) for line in printed.splitlines()], strict=True)
    assert seqs == ("[1]", "[2]", "[3]")
    assert pids[0] == pids[2] != pids[1]

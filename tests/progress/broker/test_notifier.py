"""What rings on PostgreSQL: a thread that says NOTIFY, seldom and in no transaction."""

import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from progress.broker import notifier
from progress.broker.notifier import CHANNEL, GATHER_SECONDS, Notifier

WAIT_SECONDS = 10.0


class Connection:
    """A connection that keeps what was executed, and when; it may fail, or wait."""

    def __init__(self) -> None:
        self.executed: list[tuple[str, float]] = []
        self.closed = 0
        self.fails = False
        self.gate = threading.Event()
        self.gate.set()
        self.news = threading.Condition()
        self.connection = SimpleNamespace(info=SimpleNamespace(backend_pid=42))

    def cursor(self) -> "Connection":
        return self

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None: ...

    def execute(self, statement: str) -> None:
        with self.news:
            self.executed.append((statement, time.monotonic()))
            self.news.notify_all()
        self.gate.wait(WAIT_SECONDS)
        if self.fails:
            raise RuntimeError("the database is away")

    def close(self) -> None:
        with self.news:
            self.closed += 1
            self.news.notify_all()

    def until(self, met: Any) -> None:
        with self.news:
            assert self.news.wait_for(met, WAIT_SECONDS)


@pytest.fixture
def connection(monkeypatch) -> Connection:
    made = Connection()
    monkeypatch.setattr(notifier, "connections", {"default": made})
    return made


@pytest.fixture
def own(connection) -> Iterator[Notifier]:
    made = Notifier()
    yield made
    connection.gate.set()
    made.finish()


def test_ring__says_look_and_nothing_else(own, connection):
    own.ring()
    connection.until(lambda: connection.executed)
    assert [statement for statement, _ in connection.executed] == [f"NOTIFY {CHANNEL}"]
    assert own.backend == 42


def test_ring__many_are_one_notification(own, connection):
    connection.gate.clear()
    own.ring()
    connection.until(lambda: connection.executed)
    for _ in range(1_000):
        own.ring()  # what is committed now, the one under way may not tell of
    connection.gate.set()
    connection.until(lambda: len(connection.executed) == 2)
    own.finish()
    assert len(connection.executed) <= 3


def test_ring__no_two_within_5_ms(own, connection):
    while len(connection.executed) < 10:
        own.ring()
    times = [at for _, at in connection.executed]
    assert all(later - earlier >= GATHER_SECONDS for earlier, later in pairwise(times))


def test_ring__whatever_the_database_does(own, connection, monkeypatch):
    monkeypatch.setattr(notifier, "RETRY_SECONDS", 0.01)
    connection.fails = True
    own.ring()
    connection.until(lambda: connection.closed == 1)
    assert own.backend is None
    connection.fails = False
    own.ring()
    connection.until(lambda: len(connection.executed) == 2)


def test_ring__a_database_that_refuses_is_not_asked_again_at_once(own, connection):
    connection.fails = True
    own.ring()
    connection.until(lambda: connection.closed == 1)
    own.ring()
    with connection.news:
        assert not connection.news.wait_for(lambda: len(connection.executed) > 1, 10 * GATHER_SECONDS)


def test_ring__where_no_thread_can_be_started(own, connection, monkeypatch):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        own.ring()
        own.ring()
    own.ring()
    connection.until(lambda: connection.executed)


def test_ring__after_a_pause_connects_again(own, connection, monkeypatch):
    monkeypatch.setattr(notifier, "IDLE_SECONDS", 0.01)
    own.ring()
    connection.until(lambda: connection.closed == 1)
    own.ring()
    connection.until(lambda: len(connection.executed) == 2)


def test_finish__says_what_was_not_said(own, connection):
    own.ring()
    own.finish()
    assert connection.executed
    assert connection.closed
    assert own._thread is not None
    assert not own._thread.is_alive()


def test_finish__says_what_was_rung_in_the_pause(own, connection, monkeypatch):
    monkeypatch.setattr(notifier, "GATHER_SECONDS", 2 * WAIT_SECONDS)
    own.ring()
    connection.until(lambda: connection.executed)
    own.ring()
    own.finish()
    assert len(connection.executed) == 2


def test_finish__waits_no_longer_than_it_may(own, connection, settings):
    settings.PROGRESS_FLUSH_SECONDS = 0.01
    connection.gate.clear()
    own.ring()
    connection.until(lambda: connection.executed)
    own.finish()
    assert own._thread is not None
    assert own._thread.is_alive()


def test_finish__of_who_never_rang(own, connection):
    own.finish()
    assert own._thread is None

"""The doorbell, as a process that commits rings it: on SQLite, to the bells beside the file."""

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from progress.broker import bells, doorbell, layers
from progress.broker.doorbell import Doorbell


@pytest.fixture
def database(tmp_path, monkeypatch):
    path = tmp_path / "db.sqlite3"
    path.touch(0o644)
    monkeypatch.setattr(bells, "database_file", lambda: str(path))
    monkeypatch.setattr(doorbell, "is_in_tests", lambda: False)
    return path


@pytest.fixture
def worker(monkeypatch) -> Iterator[Doorbell]:
    """A process that rings, and looks each time at who wants to hear."""
    monkeypatch.setattr(doorbell, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(doorbell, "COMMIT_SECONDS", 0.0)
    made = Doorbell()
    yield made
    made.forget()


@contextmanager
def server(database: Path) -> Iterator[socket.socket]:
    """A bell that belongs to another process."""
    with bells.hung(str(database)) as bell:
        bells._own.clear()
        yield bell


def heard(bell: socket.socket) -> int:
    """Return how often it was rung."""
    times = 0
    while True:
        try:
            bell.recv(8)
        except BlockingIOError:
            return times
        times += 1


def test_ring__is_heard_by_every_server(database, worker):
    with server(database) as one, server(database) as other:
        worker.ring()
        worker.ring()
        assert (heard(one), heard(other)) == (2, 2)


def test_ring__without_a_server(database, worker):
    worker.ring()
    assert not list(database.parent.glob("*-bells"))


def test_ring__of_a_server_that_has_gone(database, worker):
    with server(database) as one:
        with server(database):
            worker.ring()
            assert len(worker._links) == 2
        worker.ring()
        assert heard(one) == 2
        assert len(worker._links) == 1


def test_ring__between_two_looks_a_server_goes(database, worker, monkeypatch):
    with server(database):
        worker.ring()
    monkeypatch.setattr(doorbell, "LOOK_SECONDS", 1000.0)
    worker.ring()
    assert not worker._links, "what nobody hears is let go of"


def test_ring__once_for_all_events_of_a_commit(database, worker, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(doorbell.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(doorbell, "COMMIT_SECONDS", 20e-6)
    with server(database) as bell:
        rung = 0
        for _ in range(1_000):
            worker.ring()
            rung += heard(bell)
            now[0] += 5e-6
        assert 100 <= rung <= 250


def test_ring__looks_for_servers_once_a_second(database, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(doorbell.time, "monotonic", lambda: now[0])
    worker = Doorbell()
    worker.ring()
    with server(database) as bell:
        now[0] += 0.9
        worker.ring()
        assert heard(bell) == 0
        now[0] += 0.1
        worker.ring()
        assert heard(bell) == 1
    worker.forget()


def test_ring__that_finds_no_more_room_was_rung_already(database, worker):
    with server(database) as bell:
        for _ in range(10_000):
            worker.ring()
        assert 0 < heard(bell) < 10_000
        worker.ring()
        assert heard(bell) == 1


def test_ring__of_a_folder_that_is_gone(database, worker):
    with server(database) as bell:
        worker.ring()
        shutil.rmtree(f"{database}-bells")
        worker.ring()
        assert heard(bell) == 2, "the socket itself is still there"


def test_ring__from_many_threads_while_servers_come_and_go(database, worker):
    """No thread sends to a socket that another closes."""
    is_over = threading.Event()

    def ring() -> None:
        while not is_over.is_set():
            worker.ring()

    threads = [threading.Thread(target=ring) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        with server(database):
            pass
    is_over.set()
    for thread in threads:
        thread.join()
    with server(database) as bell:
        worker.ring()
        assert heard(bell) == 1


def test_ring__within_a_ring(database, worker, monkeypatch):
    """As a signal's handler does that marks a job."""
    rung = []

    def look() -> None:
        rung.append(True)
        if len(rung) == 1:
            worker.ring()

    monkeypatch.setattr(worker, "_look", look)
    worker.ring()
    assert len(rung) == 2


@pytest.mark.parametrize("backend", ["", "channels.layers.InMemoryChannelLayer"])
def test_ring__where_no_layer_reaches_others(database, worker, settings, backend):
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}} if backend else {}
    with server(database) as bell:
        worker.ring()
        assert heard(bell) == 1


def test_ring__not_beside_a_layer(database, worker, settings):
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "progress.broker.redis_layer.PipelinedChannelLayer"}}
    assert layers.are_configured()
    with server(database) as bell:
        worker.ring()
        assert heard(bell) == 0


def test_ring__not_in_tests(database, worker, monkeypatch):
    monkeypatch.undo()
    with server(database) as bell:
        worker.ring()
        assert heard(bell) == 0


def test_ring__where_there_are_no_unix_sockets(database, worker, monkeypatch):
    monkeypatch.setattr(bells, "ARE_POSSIBLE", False)
    with server(database) as bell:
        worker.ring()
        assert heard(bell) == 0


def test_fork__the_child_rings_with_sockets_of_its_own(database, monkeypatch):
    monkeypatch.setattr(doorbell, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(doorbell, "_doorbell", Doorbell())
    with server(database) as bell:
        doorbell.ring(None)
        doorbell._doorbell._lock.acquire()  # as another thread of the parent may hold it
        child = os.fork()
        if not child:
            doorbell.ring(None)
            os._exit(len(doorbell._doorbell._links))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        doorbell._doorbell._lock.release()
        doorbell.ring(None)
        assert heard(bell) == 3
    doorbell._doorbell.forget()

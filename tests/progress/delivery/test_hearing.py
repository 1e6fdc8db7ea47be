"""Who hears the doorbell: on SQLite a bell beside the file, on PostgreSQL a connection that listens."""

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db.backends.postgresql.base import DatabaseWrapper

from progress.broker import bells, doorbell
from progress.broker.notifier import CHANNEL
from progress.delivery import hearing
from progress.delivery.hearing import PAUSE_SECONDS, hear
from tests.progress.watching import eventually

WAIT_SECONDS = 10.0


class Rings:
    """Counts rings, and waits for them."""

    def __init__(self) -> None:
        self.count = 0
        self.news = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self.news.set()

    async def next(self) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            await self.news.wait()
        self.news.clear()


@asynccontextmanager
async def heard(rings: Rings) -> AsyncIterator[None]:
    """Hear the doorbell."""
    task = asyncio.ensure_future(hear(rings))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def database(tmp_path, monkeypatch):
    path = tmp_path / "db.sqlite3"
    path.touch(0o644)
    monkeypatch.setattr(bells, "database_file", lambda: str(path))
    monkeypatch.setattr(hearing, "is_in_tests", lambda: False)
    monkeypatch.setattr(hearing, "connections", {"default": SimpleNamespace(vendor="sqlite")})
    monkeypatch.setattr(bells, "_own", {})
    return path


def bells_of(database: Path) -> list[str]:
    """Return the paths of the bells that are there."""
    folder = Path(f"{database}-bells")
    return [str(path) for path in folder.iterdir()] if folder.is_dir() else []


async def bell_of(database: Path) -> str:
    """Return the path of the bell that is there, once it is."""
    await eventually(lambda: bells_of(database))
    return bells_of(database)[0]


def ringer(path: str) -> Any:
    link = bells._new_socket()
    link.connect(path)
    return link


# SQLite


async def test_hear__a_ring(database):
    rings = Rings()
    async with heard(rings):
        with ringer(await bell_of(database)) as link:
            link.send(b"!")
            await rings.next()
            link.send(b"")
            await rings.next()
            link.send(b"x" * 10_000)
            await rings.next()
    assert rings.count == 3
    assert not bells_of(database)


async def test_hear__a_flood_has_it_looked_no_more_often_than_each_5_ms(database):
    """What more is sent waits in the kernel, and then its senders do."""
    rings, turns = Rings(), 0
    async with heard(rings):
        with ringer(await bell_of(database)) as link:
            began = time.monotonic()
            while time.monotonic() - began < 0.3:
                with contextlib.suppress(BlockingIOError):
                    link.send(b"!")
                turns += 1
                await asyncio.sleep(0)
            took = time.monotonic() - began
    assert turns > 1_000, "the event loop went on"
    assert 3 <= rings.count <= took / PAUSE_SECONDS + 1


async def test_hear__where_there_can_be_no_bell(database, logged, monkeypatch):
    monkeypatch.setattr(hearing, "RETRY_SECONDS", 0.001)
    shutil.copy(database, f"{database}-bells")
    rings = Rings()
    async with heard(rings):
        await eventually(lambda: logged.of("progress.delivery.hearing"))
        await asyncio.sleep(0.02)
        assert len(logged.of("progress.delivery.hearing")) == 1, "said once"
        os.unlink(f"{database}-bells")
        with ringer(await bell_of(database)) as link:
            link.send(b"!")
            await rings.next()


@pytest.mark.parametrize("why", ["in tests", "in memory", "no Unix sockets"])
async def test_hear__not(database, monkeypatch, why):
    if why == "in tests":
        monkeypatch.setattr(hearing, "is_in_tests", lambda: True)
    elif why == "in memory":
        monkeypatch.setattr(bells, "database_file", lambda: None)
    else:
        monkeypatch.setattr(bells, "ARE_POSSIBLE", False)
    async with asyncio.timeout(WAIT_SECONDS):
        await hear(Rings())
    assert not bells_of(database)


# PostgreSQL


@pytest.fixture
def postgres(postgres_url, monkeypatch):
    """The connection's settings as Django has them, of a database that others listen to as well."""
    parts = urlsplit(postgres_url)
    names = {"NAME": parts.path.removeprefix("/"), "USER": parts.username or "", "PASSWORD": parts.password or ""}
    where = {"HOST": parts.hostname or "", "PORT": str(parts.port or "")}
    settings = {**names, **where, "OPTIONS": {}, "TIME_ZONE": None}
    monkeypatch.setattr(hearing, "connections", {"default": DatabaseWrapper(settings, "default")})
    monkeypatch.setattr(hearing, "is_in_tests", lambda: False)
    monkeypatch.setattr(hearing, "RETRY_SECONDS", 0.01)
    return postgres_url


LISTENING = "SELECT pid FROM pg_stat_activity WHERE query = %s AND state = 'idle' AND datname = current_database()"


def listeners(link: psycopg.Connection[Any]) -> list[int]:
    """Return the processes of the database's that listen."""
    return [pid for (pid,) in link.execute(LISTENING, [f"LISTEN {CHANNEL}"])]


async def listener(link: psycopg.Connection[Any], but: int = 0) -> int:
    """Return the process of the database's that listens, once there is another than that."""
    await eventually(lambda: listeners(link) not in ([], [but]))
    return listeners(link)[0]


async def test_hear__a_notification(postgres):
    rings = Rings()
    with psycopg.connect(postgres, autocommit=True) as other:
        async with heard(rings):
            pid = await listener(other)
            await rings.next()  # as soon as it listens, for what was said before
            other.execute(f"NOTIFY {CHANNEL}")
            await rings.next()
            other.execute(f"NOTIFY {CHANNEL}, 'what is said with it does not matter'")
            await rings.next()
        await eventually(lambda: pid not in listeners(other))
    assert rings.count == 3


async def test_hear__not_what_this_process_has_notified(postgres, monkeypatch):
    rings = Rings()
    with psycopg.connect(postgres, autocommit=True) as own, psycopg.connect(postgres, autocommit=True) as other:
        monkeypatch.setattr(doorbell, "own_backend", lambda: own.info.backend_pid)
        async with heard(rings):
            await rings.next()
            own.execute(f"NOTIFY {CHANNEL}")
            await asyncio.sleep(0.05)
            assert rings.count == 1
            other.execute(f"NOTIFY {CHANNEL}")
            await rings.next()


async def test_hear__again_after_its_connection_was_cut(postgres, logged):
    rings = Rings()
    with psycopg.connect(postgres, autocommit=True) as other:
        async with heard(rings):
            pid = await listener(other)
            await rings.next()
            other.execute("SELECT pg_terminate_backend(%s)", [pid])
            await listener(other, but=pid)
            await rings.next()  # for what was said meanwhile
    assert len(logged.of("progress.delivery.hearing")) == 1


async def test_hear__where_nobody_answers(postgres, monkeypatch, logged):
    hearing.connections["default"].settings_dict["PORT"] = "1"
    rings = Rings()
    async with heard(rings):
        await eventually(lambda: logged.of("progress.delivery.hearing"))
    assert rings.count == 0


async def test_hear__through_a_pooler_nothing_is_listened_for(postgres, monkeypatch, logged):
    """Which says of itself that it is another process."""
    monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", 1)
    async with asyncio.timeout(WAIT_SECONDS):
        await hear(Rings())
    with psycopg.connect(postgres, autocommit=True) as other:
        assert listeners(other) == []
    assert "pooler" in logged.of("progress.delivery.hearing")[0]


async def test_hear__of_a_driver_that_can_not(postgres, monkeypatch):
    """psycopg 2."""
    connection = hearing.connections["default"]
    monkeypatch.setattr(bells, "database_file", lambda: None)
    monkeypatch.setattr(type(connection), "Database", SimpleNamespace())
    async with asyncio.timeout(WAIT_SECONDS):
        await hear(Rings())


async def test_hear__leaves_no_file_open(database):
    before = len(os.listdir("/proc/self/fd"))
    async with heard(Rings()):
        await bell_of(database)
    assert len(os.listdir("/proc/self/fd")) == before

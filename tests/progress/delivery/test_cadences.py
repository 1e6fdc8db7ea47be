"""Each way in which the hub learns of what nobody told it, at the settings of production, in virtual time.

Each is broken on purpose as well: then nothing is shown in that time, so it is this that showed it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pytest

from jobs.models import JobEvent, ProcessingJob
from jobs.selectors import Head
from progress.broker import layers, subscriber
from progress.broker.subscriber import Subscriber
from progress.delivery import feed, hearing, log_reader, reads
from progress.delivery.hub import Hub
from progress.delivery.log_reader import LogReader
from progress.delivery.sqlite_changes import DataVersion
from tests.progress.watching import ScriptedLayer, Watcher
from tests.simulation.clock import VirtualLoop

JOB = "job-1"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
A_MOMENT = 0.2  # virtual seconds, for what follows from a wake-up
FOREVER = 1_000_000.0  # seconds: never, in these tests


class Database:
    """One public job, whose writes nobody is told of but a counter, if that works."""

    def __init__(self) -> None:
        self.job = ProcessingJob(id=JOB, public=True, epoch="e", seq=1, created_at=BEGIN, updated_at=BEGIN)
        self.job.status_changed_at = BEGIN
        self.events: list[JobEvent] = []
        self.version = 0
        self.counts = True
        self.looks = 0  # how often it was asked where the job stands

    def write(self) -> None:
        self.job.seq += 1
        self.job.status = "in_progress"
        self.job.updated_at = self.job.status_changed_at = BEGIN.replace(second=self.job.seq)
        event = JobEvent(job_id=JOB, seq=self.job.seq, kind="status", status=self.job.status, progress=0.0)
        event.timestamp = self.job.updated_at
        self.events.append(event)
        self.version += self.counts

    def heads(self, job_ids: Any) -> Any:
        self.looks += 1
        return {each: Head("e", self.job.seq, self.job.updated_at, None, True, "") for each in job_ids}

    def get_jobs(self, job_ids: Any) -> Any:
        fields = ("id", "public", "epoch", "seq", "status", "created_at", "updated_at", "status_changed_at")
        return [ProcessingJob(**{field: getattr(self.job, field) for field in fields}) for _ in job_ids]

    def events_between(self, spans: Any) -> Any:
        return {JOB: [event for event in self.events if spans[JOB].after < event.seq <= spans[JOB].upto]}

    def recent_jobs(self, *_: Any, **__: Any) -> Any:
        return self.get_jobs([JOB])

    def jobs_changed_since(self, _: Any) -> Any:
        return [(JOB, "e", self.job.status, self.job.status_changed_at)]

    def has_changed(self) -> bool:
        before, self.seen = getattr(self, "seen", 0), self.version
        return before != self.seen

    def close(self) -> None:
        pass


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    made = Database()
    for name in ("heads", "get_jobs", "events_between", "recent_jobs", "jobs_changed_since"):
        monkeypatch.setattr(f"jobs.selectors.{name}", getattr(made, name))

    async def at_once(function: Any, *args: Any) -> Any:
        await asyncio.sleep(0.001)
        return function(*args)

    monkeypatch.setattr(reads, "in_thread", at_once)
    monkeypatch.setattr(
        "jobs.access.viewable", lambda wanted: {user: (set(ids), set()) for user, ids in wanted.items()}
    )
    monkeypatch.setattr(layers, "configured", lambda: None)
    monkeypatch.setattr(DataVersion, "of_database", lambda: made)
    return made


async def seconds_until_shown(database: Database, *, within: float, settle: float = 10.0) -> float | None:
    """Return how long it takes until a write is shown to one who watches; None if it is longer."""
    hub, watcher = Hub(), Watcher()
    hub.enter(watcher.connection)
    try:
        await hub.subscribe(watcher.connection, JOB, None)
        await asyncio.sleep(settle)
        loop = asyncio.get_running_loop()
        await _waited(lambda: loop.time() - hub.reader._swept_at < A_MOMENT / 10, 10)  # the next is as far as can be
        database.write()
        return await _waited(lambda: any(frame.get("seq") == database.job.seq for frame in watcher.frames), within)
    finally:
        hub.leave(watcher.connection)


async def looks_in_a_second(database: Database, ask: Callable[[Hub], None]) -> float:
    """Return how often the database is asked in a second in which there is a reason to in each millisecond."""
    hub, watcher = Hub(), Watcher()
    hub.enter(watcher.connection)
    try:
        await hub.subscribe(watcher.connection, JOB, None)
        await asyncio.sleep(1)
        before = database.looks
        for _ in range(1000):
            ask(hub)
            await asyncio.sleep(0.001)
        return database.looks - before
    finally:
        hub.leave(watcher.connection)


async def _waited(reached: Any, within: float) -> float | None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not reached():
        if loop.time() - began > within:
            return None
        await asyncio.sleep(0.001)
    return loop.time() - began


def run(work: Coroutine[Any, Any, float | None]) -> float | None:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        for task in loop.tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*loop.tasks, return_exceptions=True))
        loop.close()


def test_sqlite__the_counter_is_looked_at_each_20_ms(database):
    assert run(seconds_until_shown(database, within=0.02 + A_MOMENT)) is not None


def test_sqlite__the_log_is_compared_no_more_often_than_each_20_ms(database):
    """However much is written."""

    def write(_: Hub) -> None:
        database.version += 1

    assert 30 < (run(looks_in_a_second(database, write)) or 0) <= 51


def test_round__is_not_begun_within_5_ms_of_the_last(database):
    def mark(hub: Hub) -> None:
        hub.reader.mark(hub.jobs[JOB])

    assert 100 < (run(looks_in_a_second(database, mark)) or 0) <= 201


def test_sqlite__every_3_seconds_the_log_is_compared_whatever_the_counter_says(database, settings):
    database.counts = False
    shown = run(seconds_until_shown(database, within=3 + A_MOMENT))
    assert shown is not None
    assert shown > 0.02 + A_MOMENT, "so it was not the counter"
    settings.PROGRESS_SYNC_SECONDS = FOREVER
    assert run(seconds_until_shown(database, within=60)) is None


def test_postgres__the_log_is_compared_each_250_ms(database, monkeypatch, settings):
    monkeypatch.setattr(DataVersion, "of_database", lambda: None)
    assert run(seconds_until_shown(database, within=0.25 + A_MOMENT)) is not None
    settings.PROGRESS_SWEEP_SECONDS = FOREVER
    assert run(seconds_until_shown(database, within=60)) is None


AT_ONCE = 0.015  # seconds: a round, after the one before


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_ring__has_the_log_compared_at_once(database, monkeypatch, settings, backend):
    settings.PROGRESS_POLL_SECONDS = FOREVER
    settings.PROGRESS_SWEEP_SECONDS = 1.0
    if backend == "postgres":
        monkeypatch.setattr(DataVersion, "of_database", lambda: None)
    write = database.write

    def write_and_ring() -> None:
        write()
        asyncio.get_running_loop().call_later(0.001, ringing[0])

    database.write = write_and_ring  # type: ignore[method-assign]
    ringing: list[Callable[[], None]] = []

    async def hear(ring: Callable[[], None]) -> None:
        ringing.append(ring)

    monkeypatch.setattr(hearing, "hear", hear)
    assert run(seconds_until_shown(database, within=AT_ONCE)) is not None
    ringing.clear()
    monkeypatch.setattr(LogReader, "ring", lambda self: None)
    assert run(seconds_until_shown(database, within=AT_ONCE)) is None


def ring(hub: Hub) -> None:
    hub.reader.ring()


def test_sqlite__a_ring_without_a_write_has_nothing_compared(database):
    assert (run(looks_in_a_second(database, ring)) or 0) <= 1


def test_postgres__whoever_rings_has_the_log_compared_no_more_often_than_each_5_ms(database, monkeypatch):
    monkeypatch.setattr(DataVersion, "of_database", lambda: None)
    assert 100 < (run(looks_in_a_second(database, ring)) or 0) <= 201


def test_ring__of_many_watched_jobs_takes_a_share_of_the_time_and_no_more(database, monkeypatch):
    """So many jobs a second are compared; with more than a sweep's, there is none but those that come anyway."""
    monkeypatch.setattr(DataVersion, "of_database", lambda: None)
    monkeypatch.setattr(log_reader, "RUNG_JOBS_A_SECOND", 10)
    assert 9 <= (run(looks_in_a_second(database, ring)) or 0) <= 11
    monkeypatch.setattr(log_reader, "RUNG_JOBS_A_SECOND", 0.1)
    assert 3 <= (run(looks_in_a_second(database, ring)) or 0) <= 5


def test_ring__beside_a_layer_nobody_listens_for(database, monkeypatch):
    heard = mock.Mock(side_effect=AssertionError)
    monkeypatch.setattr(hearing, "hear", heard)
    monkeypatch.setattr(layers, "configured", ScriptedLayer)
    assert (run(looks_in_a_second(database, lambda hub: None)) or 0) <= 1
    heard.assert_not_called()


@pytest.mark.parametrize("counter", [True, False], ids=["sqlite", "postgres"])
def test_layer__that_works_the_log_is_compared_each_3_seconds(database, monkeypatch, settings, counter):
    if not counter:
        monkeypatch.setattr(DataVersion, "of_database", lambda: None)
    monkeypatch.setattr(layers, "configured", ScriptedLayer)
    shown = run(seconds_until_shown(database, within=3 + A_MOMENT))
    assert shown is not None
    assert shown > 0.25 + A_MOMENT, "so the log is not read all the time"
    settings.PROGRESS_SYNC_SECONDS = FOREVER
    assert run(seconds_until_shown(database, within=60)) is None


def test_layer__that_went_deaf_is_noticed(database, monkeypatch, settings):
    """By the next probe, a probe each 3 seconds, without an answer for 2; then the log is read as without a layer."""
    settings.PROGRESS_SYNC_SECONDS = 3.0
    monkeypatch.setattr(DataVersion, "of_database", lambda: None)

    async def after_it_went_deaf() -> float | None:
        layer = ScriptedLayer()
        monkeypatch.setattr(layers, "configured", lambda: layer)
        asyncio.get_running_loop().call_later(5, setattr, layer, "is_deaf", True)
        return await seconds_until_shown(database, within=0.25 + A_MOMENT, settle=6 + 3 + subscriber.ANSWER_SECONDS)

    assert run(after_it_went_deaf()) is not None

    async def hears_anyway(self: Any) -> bool:
        return True

    monkeypatch.setattr(Subscriber, "_brings_an_echo", hears_anyway)
    assert run(after_it_went_deaf()) is None


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_feed__of_which_no_word_came_is_told_with_the_sweep(database, monkeypatch, backend):
    if backend == "postgres":
        monkeypatch.setattr(DataVersion, "of_database", lambda: None)

    async def told() -> float | None:
        hub, watcher = Hub(), Watcher()
        hub.enter(watcher.connection)
        try:
            await hub.subscribe_feed(watcher.connection, "all")
            await asyncio.sleep(10)
            database.write()
            is_told = lambda: len(watcher.frames) > 1  # noqa: E731
            return await _waited(is_told, 0.25 + 0.25 + feed.GATHER_SECONDS + A_MOMENT)
        finally:
            hub.leave(watcher.connection)

    assert run(told()) is not None
    with mock.patch.object(feed.Feed, "sweep"):
        assert run(told()) is None

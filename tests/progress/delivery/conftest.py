"""What the tests of delivery share."""

import asyncio
from typing import Any

import pytest

from jobs import selectors
from progress.broker import layers
from progress.delivery import feed, reads
from tests.progress.watching import ScriptedLayer, Watcher


@pytest.fixture
def calls(monkeypatch):
    """How often each selector was asked."""
    counted: dict[str, int] = {}

    def count(name: str) -> None:
        real = getattr(selectors, name)

        def counting(*args: Any, **options: Any) -> Any:
            counted[name] = counted.get(name, 0) + 1
            return real(*args, **options)

        monkeypatch.setattr(selectors, name, counting)

    for name in ("get_jobs", "events_between", "heads"):
        count(name)
    return counted


@pytest.fixture
async def layer(monkeypatch):
    """The channel layer that a hub finds."""
    made = ScriptedLayer()
    monkeypatch.setattr(layers, "get_channel_layer", lambda: made)
    return made


class HeldRead:
    """A read that was made, and whose answer waits until the test lets it pass."""

    def __init__(self) -> None:
        self.reading, self.passing = asyncio.Event(), asyncio.Event()


@pytest.fixture
def hold(monkeypatch):
    """``held = hold(function)``: hold the answers of what is read by a function."""

    def hold(held_function: Any) -> HeldRead:
        held, in_thread = HeldRead(), reads.in_thread

        async def slow(function: Any, *args: Any) -> Any:
            result = await in_thread(function, *args)
            if function is held_function:
                held.reading.set()
                await held.passing.wait()
            return result

        monkeypatch.setattr(reads, "in_thread", slow)
        return held

    return hold


@pytest.fixture
def asked_by_hand(settings):
    """The access guard asks when the test does."""
    settings.PROGRESS_ACCESS_SECONDS = 60


@pytest.fixture
def quick_feed(monkeypatch):
    """A feed tells of a change at once, and waits for no other."""
    monkeypatch.setattr(feed, "GATHER_SECONDS", 0.001)


@pytest.fixture
async def alone(settings, monkeypatch):
    """A feed without a hub, with one watcher; how often it has looked for changes is in ``looks``."""
    settings.PROGRESS_SWEEP_SECONDS = 0.001
    made = feed.Feed()
    made.looks = 0  # type: ignore[attr-defined]
    changes = feed.Feed._changes

    async def counting(self: feed.Feed, seconds: float) -> Any:
        made.looks += 1  # type: ignore[attr-defined]
        return await changes(self, seconds)

    monkeypatch.setattr(feed.Feed, "_changes", counting)
    running = asyncio.gather(made.run(), made.run_sweeps())
    watcher = Watcher()
    await made.add(watcher.connection, "all")
    yield made, watcher
    running.cancel()
    watcher.connection.lost()


@pytest.fixture
def asked(monkeypatch) -> list[Any]:
    """Which spans lines are read of."""
    made: list[Any] = []
    first_events = selectors.first_events

    def noted(job_id: str, span: Any, *args: Any) -> Any:
        made.append(span[1:])
        return first_events(job_id, span, *args)

    monkeypatch.setattr(selectors, "first_events", noted)
    return made

"""Places: the own counts, and what a shared count that is slow, lost or away makes of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from progress.broker import places as places_module
from progress.broker.places import Entry, Places
from tests.progress.watching import eventually


class Scripted:
    """A shared count in memory, which answers when it may."""

    def __init__(self, free: int = 100) -> None:
        self.free = free
        self.known: dict[str, int] = {}
        self.asked: list[tuple[dict[str, Entry], bool]] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.is_lost = self.is_away = self.has_left = False

    async def exchange(self, entries: Mapping[str, Entry], *, anew: bool) -> list[int] | None:
        self.asked.append((dict(entries), anew))
        await self.answering.wait()
        if self.is_away:
            raise ConnectionError("away")
        if self.is_lost and not anew:
            return None
        self.is_lost = False
        if anew:
            self.known.clear()
        granted = []
        for key, entry in entries.items():
            granted.append(max(0, min(entry.wanted, self.free - entry.taken)))
            self.known[key] = entry.taken + granted[-1]
        return granted

    async def leave(self) -> None:
        self.has_left = True


@asynccontextmanager
async def kept(shared: Scripted) -> AsyncIterator[Places]:
    places = Places(shared)
    running = asyncio.ensure_future(places.run())
    yield places
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert shared.has_left
    assert not places._waiting


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(places_module, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(places_module, "GATHER_SECONDS", 0.001)
    monkeypatch.setattr(places_module, "ANSWER_SECONDS", 0.05)


async def take(places: Places, times: int, key: str = "a", limit: int = 100) -> list[bool]:
    return await asyncio.gather(*(places.take(key, limit) for _ in range(times)))


async def test_own__each_key_has_its_own():
    places = Places()
    assert await take(places, 3, limit=2) == [True, True, False]
    assert await places.take("b", 2)


async def test_own__one_given_back_can_be_taken_and_leaves_no_trace():
    places = Places()
    assert await places.take("a", 1)
    places.give_back("a")
    assert await places.take("a", 1)
    places.give_back("a")
    assert places._taken == {}


@pytest.mark.parametrize("limit", [0, -1])
async def test_own__there_may_be_none(limit):
    places = Places()
    assert not await places.take("a", limit)
    assert places._taken == {}


async def test_shared__all_who_ask_together_share_a_round_trip():
    shared = Scripted(free=5)
    async with kept(shared) as places:
        assert await take(places, 8) == [True] * 5 + [False] * 3
        assert shared.asked[0] == ({"a": Entry(0, 8, 100)}, True)
        assert len(shared.asked) == 1


async def test_shared__who_comes_meanwhile_is_asked_for_next():
    shared = Scripted()
    shared.answering.clear()
    async with kept(shared) as places:
        first = asyncio.ensure_future(take(places, 2))
        await eventually(lambda: shared.asked)
        second = asyncio.ensure_future(take(places, 3))
        await asyncio.sleep(0)
        shared.answering.set()
        assert await first + await second == [True] * 5
        assert shared.known == {"a": 5}


async def test_shared__the_own_count_bounds_it_without_asking():
    shared = Scripted()
    async with kept(shared) as places:
        await take(places, 2)
        asked = len(shared.asked)
        assert not await places.take("a", 2)
        assert len(shared.asked) == asked


async def test_shared__hears_of_what_is_given_back():
    shared = Scripted()
    async with kept(shared) as places:
        await take(places, 3)
        places.give_back("a")
        await eventually(lambda: shared.known == {"a": 2})


async def test_shared__one_who_has_left_meanwhile_takes_no_place():
    shared = Scripted()
    shared.answering.clear()
    async with kept(shared) as places:
        asking = [asyncio.ensure_future(places.take("a", 9)) for _ in range(3)]
        await eventually(lambda: shared.asked)
        asking[0].cancel()
        shared.answering.set()
        assert await asyncio.gather(*asking[1:]) == [True, True]
        await eventually(lambda: shared.known == {"a": 2})


async def test_shared__one_who_leaves_in_the_turn_of_the_answer_gives_it_back():
    places = Places(Scripted())
    asking = asyncio.ensure_future(places.take("a", 9))
    await asyncio.sleep(0)
    places._answer("a", 1, 1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert places._taken == {}


async def test_lost__everything_is_told_anew(monkeypatch):
    monkeypatch.setattr(places_module, "KEYS_A_BATCH", 2)
    shared = Scripted()
    async with kept(shared) as places:
        for key in "abcde":
            await take(places, 1, key)
        shared.is_lost = True
        await eventually(lambda: shared.known == dict.fromkeys("abcde", 1) and not shared.is_lost)
        assert await places.take("a", 9)


async def test_away__own_counts_hold_and_it_is_said_once(caplog):
    shared = Scripted()
    async with kept(shared) as places:
        shared.is_away = True
        assert await take(places, 3, limit=2) == [True, True, False]
        await eventually(lambda: len(shared.asked) > 3)
        assert caplog.text.count("until Redis answers") == 1
        shared.is_away = False
        await eventually(lambda: shared.known == {"a": 2})


async def test_silent__who_asks_waits_a_moment_and_who_comes_later_does_not():
    shared = Scripted()
    shared.answering.clear()
    async with kept(shared) as places:
        assert await take(places, 2) == [True, True]
        asked = len(shared.asked)
        assert await places.take("a", 9)
        assert len(shared.asked) == asked


async def test_end__answers_those_who_wait():
    shared = Scripted()
    shared.answering.clear()
    async with kept(shared) as places:
        asking = asyncio.ensure_future(take(places, 2, limit=1))
        await eventually(lambda: shared.asked)
    assert await asking == [True, False]


async def test_run__ends_though_what_answers_has_swallowed_the_cancellation(monkeypatch):
    """As ``asyncio.wait_for`` of Python 3.11 does, through which redis-py sends, if it has just been done."""
    monkeypatch.setattr(places_module, "ANSWER_SECONDS", 60)
    shared = Scripted()
    exchange = shared.exchange

    async def swallowing(entries: Mapping[str, Entry], *, anew: bool) -> list[int] | None:
        with contextlib.suppress(asyncio.CancelledError):
            return await exchange(entries, anew=anew)
        return [0] * len(entries)

    monkeypatch.setattr(shared, "exchange", swallowing)
    shared.answering.clear()
    running = asyncio.ensure_future(Places(shared).run())
    await eventually(lambda: shared.asked)
    running.cancel()
    await asyncio.wait({running}, timeout=1)
    assert running.cancelled()
    assert shared.has_left

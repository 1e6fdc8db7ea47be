"""What is said of the time left, of earlier runs and of silence: the vectors are those of the pages."""

import json
import math
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress.client.server_clock import ServerClock, moment, seconds_since
from progress.client.silence import silence_words, then_words
from progress.client.time_left import Countdown, left_at, left_words, rounded_left
from progress.client.timing import Timing, kept_of
from progress.client.usual import is_longer, usual_percent, usual_words
from tests.progress.scripted_server import progress, snapshot

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "time_left.json").read_text())
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def named(kind: str) -> Any:
    return pytest.mark.parametrize("case", VECTORS[kind], ids=[case["name"] for case in VECTORS[kind]])


@named("left")
def test_left_at__the_vectors(case: dict[str, Any]) -> None:
    expected = math.inf if case["seconds"] == "longer" else case["seconds"]
    assert left_at(case["metadata"], case["age"]) == (expected, case["floor"])


@named("countdown")
def test_countdown__the_vectors(case: dict[str, Any]) -> None:
    countdown = Countdown()
    for now, left, floor, shown in case["steps"]:
        assert countdown.show(left, now, floor) == (None if shown is None else pytest.approx(shown, abs=1e-5)), now


@named("words")
def test_left_words__the_vectors(case: dict[str, Any]) -> None:
    before, words = None, []
    for seconds in case["seconds"]:
        before = rounded_left(seconds, before)
        words.append(left_words(before))
    assert words == case["words"]


@pytest.mark.parametrize("case", VECTORS["usual"], ids=lambda case: case["words"] or "nothing")
def test_usual__the_vectors(case: dict[str, Any]) -> None:
    usual, elapsed = case["usual"], case["elapsed"]
    assert usual_words(usual) == case["words"]
    assert usual_percent(usual, elapsed) == case["percent"]
    assert is_longer(usual, elapsed) is case["longer"]


@named("timing")
def test_timing__the_vectors(case: dict[str, Any]) -> None:
    timing = Timing()
    for step in case["steps"]:
        told = timing.of(step["job"], moment(step["now"]), is_live=step["is_live"])
        expected = step["told"]
        found = (told.silence, told.left, told.seconds_left, told.usual, told.usual_percent, told.then)
        assert found == tuple(expected[key] for key in ("silence", "left", "rate", "usual", "usual_percent", "then"))


@given(left=st.lists(st.none() | st.floats(0, 1e6), max_size=30), floor=st.floats(0, 10))
def test_countdown__is_never_below_its_floor_nor_beyond_all_estimates(left: list[float | None], floor: float) -> None:
    countdown, latest = Countdown(), 0.0
    for now, each in enumerate(left):
        shown = countdown.show(each, now, floor)
        latest = 0.0 if each is None else max(latest, now + each, now + floor)
        if each is None:
            assert shown is None
        else:
            assert shown is not None
            assert floor - 1e-6 <= shown <= latest - now + 1e-6


def estimates(seed: int, length: int) -> list[float]:
    """Return an estimate of what is left for each second: as uneven as learned ones are, about 1 s a second."""
    dice = random.Random(seed)
    spread = 10 / length
    error, found = dice.gauss(0, spread), []
    for now in range(length):
        error += -0.05 * error + dice.gauss(0, spread / 5)
        found.append((length - now) * math.exp(error + dice.gauss(0, spread / 10)))
    return found


def unevenness(shown: list[float]) -> float:
    """Return by how much a countdown is uneven: the mean deviation from a second a second."""
    return mean(abs(after - before + 1) for before, after in pairwise(shown))


@pytest.mark.parametrize("length", [60, 240, 900])
def test_countdown__goes_evenly_where_the_estimates_do_not(length: int) -> None:
    raw, shown = [], []
    for seed in range(20):
        countdown, told = Countdown(), estimates(seed, length)
        raw.append(unevenness(told))
        shown.append(unevenness([countdown.show(left, now) or 0.0 for now, left in enumerate(told)]))
    assert mean(raw) > 0.8
    assert mean(shown) <= 0.5


def test_kept_of__what_the_snapshot_said_holds_for_its_attempt() -> None:
    usual = {"runs": 3, "seconds": [5]}
    told = snapshot(1, started_at="2026-01-01T00:00:00Z", usual=usual, max_silence=9)
    after = kept_of(told, progress(2))
    assert after == progress(2) | {"started_at": "2026-01-01T00:00:00Z", "usual": usual, "max_silence": 9}
    assert kept_of(after, progress(3)) == after | {"seq": 3}
    assert kept_of(after, progress(3, metadata={"attempt": 2})) == progress(3, metadata={"attempt": 2}, max_silence=9)
    assert kept_of(after, snapshot(4)) == snapshot(4)
    assert kept_of(None, progress(1)) == progress(1)


# Silence


def test_silence_words__whole_seconds() -> None:
    assert [silence_words(each) for each in (0.2, 34.9, 125)] == [
        "no report for 1 s",
        "no report for 34 s",
        "no report for 2 min 5 s",
    ]


def test_then_words__what_will_happen_in_local_time() -> None:
    now = datetime(2026, 1, 1, 12, 0, 0).astimezone()
    at = (now + timedelta(minutes=5, seconds=22)).isoformat()
    tomorrow = (now + timedelta(hours=12, seconds=3)).isoformat()
    words = "If the worker stays silent, the job"
    for stalled, expected in [
        (
            {"then": "requeue", "at": at, "attempt": 3, "of": 3},
            f"{words} is queued again at 12:05:22 as attempt 3 of 3.",
        ),
        ({"then": "requeue", "at": at, "attempt": 3}, f"{words} is queued again at 12:05:22 as attempt 3."),
        ({"then": "requeue"}, f"{words} is queued again."),
        ({"then": "fail", "at": at, "attempt": 3, "of": 3}, f"{words} counts as failed at 12:05:22."),
        ({"then": "fail", "at": tomorrow}, f"{words} counts as failed at 2 Jan 2026, 00:00."),
        ({"then": "explode", "at": at}, ""),
        ({"then": ["fail"], "at": at}, ""),
    ]:
        assert then_words(stalled, now) == expected


# The server's time


def told(seconds: float, kind: str = "heartbeat") -> dict[str, Any]:
    return {"type": kind, "timestamp": (NOON + timedelta(seconds=seconds)).isoformat()}


def test_server_clock__is_unknown_until_the_server_has_told_it() -> None:
    ticks = 5.0
    clock = ServerClock(lambda: ticks)
    for frame in ({}, {"type": "heartbeat"}, {"type": "pong", "timestamp": "soon"}, snapshot(1)):
        clock.hear(frame)
    assert clock.now() is None
    clock.hear(told(0, "pong"))
    assert clock.now() == NOON
    ticks = 39.0
    assert clock.now() == NOON + timedelta(seconds=34)


def test_server_clock__what_comes_late_sets_nothing_back() -> None:
    ticks = 0.0
    clock = ServerClock(lambda: ticks)
    clock.hear(told(-0.5))
    ticks = 25.0
    clock.hear(told(24.9))
    ticks = 50.0
    clock.hear(told(40))
    assert clock.now() == NOON + timedelta(seconds=49.9)
    clock.reset()
    assert clock.now() is None


def test_seconds_since__is_never_negative_and_unknown_of_what_is_no_time() -> None:
    assert seconds_since("2026-01-01T11:59:26.000000Z", NOON) == 34
    assert seconds_since("2026-01-01T11:59:26", NOON) == 34
    assert seconds_since("2026-01-01T12:01:00Z", NOON) == 0
    assert [seconds_since(each, NOON) for each in (None, 5, "soon")] == [None] * 3
    assert seconds_since("2026-01-01T12:00:00Z", None) is None

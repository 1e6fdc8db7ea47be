"""The course of a run in a few points, against all that was reported."""

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.retention.curve import MAX_CANDIDATES, MAX_POINTS, Point, candidates, simplified, stride

MAX_ERROR = 0.5  # points of percent


def steady(ticks: int) -> Iterator[float]:
    """Yield the seconds between two ticks: each takes as long."""
    return (0.01 for _ in range(ticks))


def uneven(ticks: int) -> Iterator[float]:
    """Four stages, of which each has its own speed."""
    return ((0.001, 0.05, 0.004, 0.02)[4 * number // ticks] for number in range(ticks))


def bursts(ticks: int) -> Iterator[float]:
    """A batch at a time."""
    size = max(2, ticks // 70)
    return (0.0001 if number % size else 5.0 for number in range(ticks))


def pause(ticks: int) -> Iterator[float]:
    """Ten minutes in which nothing happens."""
    return (600.0 if number == ticks * 2 // 3 else 0.001 for number in range(ticks))


def bursts_of_one_percent(ticks: int) -> Iterator[float]:
    """The worst case: as many steps as it takes points to show half of them."""
    return (0.0001 if number % (ticks // 100) else 5.0 for number in range(ticks))


def slow_end(ticks: int) -> Iterator[float]:
    """The last hundredth takes as long as all before."""
    return (0.001 if number < ticks * 0.99 else 0.1 for number in range(ticks))


def ragged(ticks: int) -> Iterator[float]:
    """By chance, now and then a hundred times as long."""
    chance = random.Random(ticks)
    return (chance.expovariate(1) * (1.0 if chance.random() < 0.01 else 0.01) for _ in range(ticks))


def course(seconds: Iterator[float], ticks: int) -> list[Point]:
    at = 0.0
    return [(at := at + pause, 100 * number / ticks) for number, pause in enumerate(seconds, 1)]


def error(curve: list[Point], all_points: list[Point]) -> float:
    """Return how far the curve is off at the worst moment."""
    worst, index = 0.0, 0
    for at, percent in all_points:
        while index < len(curve) - 2 and curve[index + 1][0] < at:
            index += 1
        (left, low), (right, high) = curve[index : index + 2]
        shown = low + (high - low) * (at - left) / (right - left) if right > left else high
        worst = max(worst, abs(shown - percent))
    return worst


def curve_of(points: list[Point], after: int) -> list[Point]:
    """Return the curve of ticks whose first one follows ``after``, as it is made of the rows that are left of them."""
    seqs = candidates(after, after + len(points))
    left = [points[seq - after - 1] for seq in seqs]
    return simplified([(0.0, 0.0), points[0], *left, points[-1]])


@pytest.mark.parametrize("shape", [steady, uneven, bursts, pause, slow_end, ragged])
@settings(max_examples=8, deadline=None)
@given(ticks=st.integers(MAX_POINTS + 1, 20_000), after=st.integers(0, 100_000))
def test_curve__is_off_by_half_a_point_at_most(shape: object, ticks: int, after: int) -> None:
    points = course(shape(ticks), ticks)  # type: ignore[operator]
    curve = curve_of(points, after)
    assert len(curve) <= MAX_POINTS
    assert error(curve, points) <= MAX_ERROR


@pytest.mark.parametrize("shape", [steady, uneven, bursts, pause, slow_end])
@pytest.mark.parametrize("ticks", [100_000, 77_000], ids=["a usual number", "as few candidates as can be"])
def test_curve__of_many_ticks(shape: object, ticks: int) -> None:
    points = course(shape(ticks), ticks)  # type: ignore[operator]
    assert error(curve_of(points, 7), points) <= MAX_ERROR


def test_curve__of_as_many_steps_as_points_is_off_by_less_than_a_step() -> None:
    for ticks in 60_000, 100_000, 102_600:
        points = course(bursts_of_one_percent(ticks), ticks)
        assert error(curve_of(points, 7), points) <= 0.65


def test_curve__of_few_points_is_all_that_matter() -> None:
    assert simplified([]) == []
    assert simplified([(0, 0)]) == [(0, 0)]
    assert simplified([(0, 0), (1, 50), (2, 100)]) == [(0, 0), (2, 100)]  # the middle one is on the line
    assert simplified([(0, 0), (1, 90), (2, 100)]) == [(0, 0), (1, 90), (2, 100)]


def test_curve__may_go_back_and_jump() -> None:
    points: list[Point] = [(0, 0), (1, 80), (1, 20), (2, 30), (2, 30), (3, 100)]
    assert simplified(points) == [(0, 0), (1, 80), (1, 20), (2, 30), (3, 100)]


@given(after=st.integers(0, 10**9), events=st.integers(1, 10**7), more=st.integers(0, 10**7))
def test_stride__of_a_longer_run_is_a_multiple(after: int, events: int, more: int) -> None:
    first, later = stride(after, after + events), stride(after, after + events + more)
    assert later % first == 0
    assert len(candidates(after, after + events)) <= MAX_CANDIDATES
    assert first == 1 or len(candidates(after, after + events)) >= MAX_CANDIDATES // 2 - 1

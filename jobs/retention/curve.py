"""The course of an attempt in a few points: which events they are made of, and which of them are kept. Pure."""

import math
from collections.abc import Sequence

MAX_POINTS = 200  # of a curve: 4 KB at most
MAX_CANDIDATES = 600  # events to choose them from; at least half as many, so a pause is off by a third of a percent
CLOSE_ENOUGH = 0.01  # points of percent: to what a percentage is rounded
INSTANT = 1e-9  # seconds between two events that have the same time

Point = tuple[float, float]  # seconds since the attempt's start, percent


def stride(after: int, upto: int) -> int:
    """Return how far apart the candidates of an attempt are whose events have ``after < seq <= upto``.

    Candidates are the events whose ``seq`` is a multiple of that: the smallest power of two that makes few enough. So
    what was left for an earlier, smaller stride always serves a later one. By ``seq`` and not by time, since a run
    that makes half of its way within a second would have one point there.
    """
    size = 1
    while upto // size - after // size > MAX_CANDIDATES:
        size *= 2
    return size


def candidates(after: int, upto: int) -> range:
    """Return the ``seq`` of each candidate."""
    size = stride(after, upto)
    return range((after // size + 1) * size, upto + 1, size)


def simplified(points: Sequence[Point]) -> list[Point]:
    """Return at most `MAX_POINTS` of the points, the first and the last among them.

    The lines between them are off by as little as that allows: a pause or a burst takes two points, and what is
    steady none.
    """
    tolerance = CLOSE_ENOUGH
    while len(kept := _within(points, tolerance)) > MAX_POINTS:
        tolerance *= 1.1
    return kept


def _within(points: Sequence[Point], tolerance: float) -> list[Point]:
    """Return points between which the lines pass all others within a tolerance."""
    kept, index = list(points[:1]), 0
    while index < len(points) - 1:
        index = _last_in_sight(points, index, tolerance)
        kept.append(points[index])
    return kept


def _last_in_sight(points: Sequence[Point], begin: int, tolerance: float) -> int:
    """Return the last point to which a line from one passes all between them within a tolerance.

    Each point leaves a cone for the lines that pass it, and what is left of all cones has to hold the point itself.
    """
    begin_at, begin_percent = points[begin]
    found, low, high = begin + 1, -math.inf, math.inf
    for index in range(begin + 1, len(points)):
        at, percent = points[index]
        seconds, rise = max(at - begin_at, INSTANT), percent - begin_percent
        if low <= rise / seconds <= high:
            found = index
        low, high = max(low, (rise - tolerance) / seconds), min(high, (rise + tolerance) / seconds)
        if low > high:
            break
    return found

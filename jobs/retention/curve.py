"""The course of an attempt in a few points: which events they are made of, and which of them are kept. Pure."""

from collections.abc import Sequence

MAX_POINTS = 200  # of a curve: 2 to 4 KB
MAX_CANDIDATES = 2 * MAX_POINTS  # events to choose them from, so that a pause or a burst is off by half a point at most
CLOSE_ENOUGH = 0.01  # points of percent: to what a percentage is rounded

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

    The lines between them stay close to those between all (Ramer, Douglas and Peucker): the point that is furthest
    off is added, again and again.
    """
    if len(points) <= 2:
        return list(points)
    chosen = {0, len(points) - 1}
    spans = [_furthest(points, 0, len(points) - 1)]
    while len(chosen) < MAX_POINTS:
        worst = max(spans)
        error, index, begin, end = worst
        if error < CLOSE_ENOUGH:
            break
        spans.remove(worst)
        chosen.add(index)
        spans += [_furthest(points, begin, index), _furthest(points, index, end)]
    return [points[index] for index in sorted(chosen)]


def _furthest(points: Sequence[Point], begin: int, end: int) -> tuple[float, int, int, int]:
    """Return how far off the line between two points the furthest one between them is, and which that is."""
    (first_at, first), (last_at, last) = points[begin], points[end]
    slope = (last - first) / (last_at - first_at) if last_at > first_at else 0.0
    error, index = max(
        ((abs(first + slope * (points[i][0] - first_at) - points[i][1]), i) for i in range(begin + 1, end)),
        default=(0.0, begin),
    )
    return error, index, begin, end

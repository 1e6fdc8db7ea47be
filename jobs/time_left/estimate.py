"""How many seconds a run has left, by how earlier ones went: a pure formula, argued in `docs/time_left.md`.

Each earlier run says what would be left if this one went on as that one did, faster or slower as it has been so far.
The answer is the weighted median of what they say, and its range their 10 and 90 % quantiles.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist, fmean
from typing import NamedTuple

from .curves import Curve, share_of_time

LEAST_SECONDS = 1e-6  # of which a pace can be told
RUNS_FOR_RANGE = 5  # of fewer, quantiles say nothing
LOW, MIDDLE, HIGH = 0.1, 0.5, 0.9
PULL, PULL_AFTER, MOST_AFTER = 0.05, 0.15, 0.6  # how soon a run's own pace counts, here and for what comes after
RIDGE = 0.5  # how many pairs of numbers an exponent's prior is worth
SLOWEST, FASTEST = 4.0, 0.25  # what is believed of a pace for stages that have not begun
SILENT = NormalDist(0, 0.15)  # a silent stage takes as long as in an earlier run, give or take (its logarithm)
LEAST_CHANCE = 1e-3
BEYOND = 1.6  # times its length, a silent stage has less than that chance to be like this one
SLACK_SECONDS, SLACK = 1.0, 0.05  # a stage that is a small part of its run is not called late for less
LATER = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the lengths in their order, behind which is looked
BEHIND = 1.15


class Row(NamedTuple):
    """What one earlier run says of the present stage; times are scaled to the present size.

    Args:
        before: Seconds before the stage.
        length: Seconds of it, above 0.
        curve: How it went; not used of a silent one.
        after: Seconds after it.
        weight: How much the run counts.

    """

    before: float
    length: float
    curve: Curve
    after: float
    weight: float


class Place(NamedTuple):
    """Where the run is.

    Args:
        began: When the present stage began, in seconds since the run's start.
        now: Now, likewise.
        share: How much of the stage is done, from 0 to 1; None of a silent one.
        ticked: When that was counted, in seconds since the stage began.
        step: How much the share has grown then.

    """

    began: float
    now: float
    share: float | None = None
    ticked: float = 0.0
    step: float = 0.0


class TimeLeft(NamedTuple):
    """Seconds: the middle of the estimate, its 10–90 % range, and what a countdown does not go below meanwhile."""

    middle: float
    low: float
    high: float
    floor: float


class _Saying(NamedTuple):
    """What an earlier run says, at its own pace: the seconds behind it, and those before it."""

    before: float
    here: float
    left: float
    to_next: float
    after: float
    weight: float


def time_left(rows: Sequence[Row], place: Place) -> TimeLeft | None:
    """Return the time left; None if the present stage has lasted longer than in any earlier run that had it."""
    is_silent = place.share is None
    said = _said(rows, place)
    own = _own_exponent(said) if said else 0.0
    if not said or place.now - place.began > _last_moment(said, place, own):
        return None
    whole_past = fmean(_share_past(one) for one in said)
    prior = MOST_AFTER * whole_past / (whole_past + PULL_AFTER)
    others = _exponent([(one.before + one.here, one.after) for one in said], prior)
    ticked = 0.0 if is_silent else place.ticked
    passed = place.now - place.began - ticked
    lefts, floors = [], []
    for before, here, left, to_next, after, weight in said:
        pace = _pace(ticked, here, own)
        run_pace = (place.began + ticked) / (before + here) if before + here > LEAST_SECONDS else 1.0
        after *= min(SLOWEST, max(FASTEST, run_pace)) ** others
        next_tick = to_next * pace
        lefts.append((max(0.0, left * pace - (0.0 if is_silent else min(passed, next_tick))) + after, weight))
        floors.append(((0.0 if is_silent else max(0.0, left * pace - next_tick)) + after, weight))
    low, middle, high = quantiles(lefts, (LOW, MIDDLE, HIGH))
    wider = 1 + 3 / len(lefts)
    low, high = max(0.0, middle + (low - middle) * wider), middle + (high - middle) * wider
    return TimeLeft(middle, low, high, min(middle, *quantiles(floors, (MIDDLE,))))


def later(rows: Sequence[Row], place: Place) -> list[tuple[float, TimeLeft | None]]:
    """Return what is known now of later in a silent stage: after how many seconds, and what is left then.

    Where all is counted, that is only when nothing is known any more.
    """
    if place.share is not None:
        said = _said(rows, place)
        seconds = place.began + _last_moment(said, place, _own_exponent(said)) - place.now
        return [(seconds, None)] if 0 < seconds < math.inf else []
    lengths = sorted(_late(row) for row in rows)
    marks = [BEHIND * lengths[round(part * (len(lengths) - 1))] for part in LATER] + [BEYOND * lengths[-1]]
    found: list[tuple[float, TimeLeft | None]] = []
    last = 0.5  # seconds: sooner is now
    for mark in marks:
        seconds = place.began + mark - place.now
        if seconds > last:
            found.append((seconds, time_left(rows, Place(place.began, place.began + mark))))
            last = 1.1 * seconds
    return found


def _said(rows: Sequence[Row], place: Place) -> list[_Saying]:
    return [*(_of_silent(rows, place) if place.share is None else _of_counted(rows, place, place.share))]


def _own_exponent(said: Sequence[_Saying]) -> float:
    past = fmean(one.here / max(one.here + one.left, 1e-9) for one in said)
    return _exponent([(one.here, one.left) for one in said], past / (past + PULL))


def _pace(ticked: float, here: float, own: float) -> float:
    """Return by how much this run is slower than an earlier one in the present stage, as far as that is believed."""
    return (ticked / here) ** own if ticked and here > LEAST_SECONDS else 1.0


def _last_moment(said: Sequence[_Saying], place: Place, own: float) -> float:
    """Return up to when, since it began, a stage of which all is counted takes no longer than ever; else infinity."""
    if place.share is None or place.share < 1:
        return math.inf  # of a silent one each run says that itself; the next count says it of another
    rests = (max(_slack(one), one.left * _pace(place.ticked, one.here, own)) for one in said)
    return place.ticked + BEYOND * max(rests)


def _slack(one: _Saying) -> float:
    return max(SLACK_SECONDS, SLACK * (one.before + one.here + one.left + one.after))


def quantiles(pairs: Sequence[tuple[float, float]], wanted: Sequence[float]) -> list[float]:
    """Return quantiles, in rising order, of values with their weights; between two values, in between."""
    ordered, whole, seen = sorted(pairs), sum(weight for _, weight in pairs), 0.0
    places = []  # where each value stands, from 0 to 1
    for value, weight in ordered:
        places.append(((seen + weight / 2) / whole, value))
        seen += weight
    return [_at(places, quantile) for quantile in wanted]


def _at(places: list[tuple[float, float]], quantile: float) -> float:
    before = places[0]
    for place in places:
        if place[0] >= quantile:
            share = (quantile - before[0]) / (place[0] - before[0]) if place[0] > before[0] else 1.0
            return before[1] + (place[1] - before[1]) * max(0.0, share)
        before = place
    return before[1]


def slope(pairs: Sequence[tuple[float, float]], prior: float, ridge: float) -> float:
    """Return b of y ~ x**b: least squares of the logarithms, drawn to a prior as if by ``ridge`` of a spread of 1."""
    logs = [(math.log(x), math.log(y)) for x, y in pairs if x > 0 and y > 0]
    if not logs:
        return prior
    mean_x, mean_y = fmean(x for x, _ in logs), fmean(y for _, y in logs)
    spread = sum((x - mean_x) ** 2 for x, _ in logs)
    common = sum((x - mean_x) * (y - mean_y) for x, y in logs)
    return (common + ridge * prior) / (spread + ridge)


def _exponent(pairs: Sequence[tuple[float, float]], prior: float) -> float:
    """Return how far what was slower so far was slower afterwards: 0 not at all, 1 by as much."""
    return min(1.0, max(0.0, slope(pairs, prior, RIDGE)))


def _share_past(one: _Saying) -> float:
    past = one.before + one.here
    return past / max(past + one.left + one.after, 1e-9)


def _of_counted(rows: Sequence[Row], place: Place, share: float) -> Iterator[_Saying]:
    """Say, of each run, where it was when it had done as much."""
    following = min(1.0, share + place.step)
    for before, length, curve, after, weight in rows:
        past = share_of_time(curve, share)
        soon = 1.0 if following >= 1 else share_of_time(curve, following)
        yield _Saying(before, length * past, length * (1 - past), length * (soon - past), after, weight)


def _of_silent(rows: Sequence[Row], place: Place) -> Iterator[_Saying]:
    """Say, of each run that this one may yet be like, what is left; it counts by the chance that it is like it."""
    spent = place.now - place.began
    for row in rows:
        chance = _chance(spent, _late(row))
        if chance > LEAST_CHANCE:
            yield _Saying(row.before, 0.0, _rest(spent, row.length), 0.0, row.after, row.weight * chance)


def _late(row: Row) -> float:
    """Return up to when a silent stage is not late."""
    return max(row.length, SLACK_SECONDS, SLACK * (row.before + row.length + row.after))


def _chance(spent: float, length: float) -> float:
    """Return the chance that a silent stage which took so long once takes longer than it has now."""
    return 1.0 if spent <= 0 else 1 - SILENT.cdf(math.log(spent / length))


def _rest(spent: float, length: float) -> float:
    """Return the median of what is left of a silent stage."""
    chance = _chance(spent, length)
    if chance <= LEAST_CHANCE:
        return 0.0
    return max(0.0, length * math.exp(SILENT.inv_cdf(1 - chance / 2)) - spent)

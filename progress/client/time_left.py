"""The time left as it is shown: it ticks down like a clock, in rounded words. As time-left.js."""

import math
from itertools import pairwise
from typing import Any

AWAY_SECONDS = 2.0  # a finish that is further away than both of these is moved,
AWAY_SHARE = 0.1  # of what is left,
NEAR_ENOUGH = 0.25  # of that, until it is within this,
GLIDE_SECONDS = 3.0  # by this time constant
MAX_NUMBER = 1e18  # what the lifecycle stores at most
STEPS = ((5400, 300), (600, 60), (120, 30), (10, 5))  # from so many seconds on, rounded to so many
UPWARDS = 0.75  # of a step, before the words say more than they did

Point = tuple[float, float | None]  # a moment in seconds, and what is left then; None if nothing is known


class Countdown:
    """A finish, which is moved only if the estimate has gone away from it."""

    def __init__(self) -> None:
        self._finish: float | None = None
        self._at = 0.0
        self._is_moving = False

    def show(self, left: float | None, now: float, floor: float = 0.0) -> float | None:
        """Return the seconds to show; None if nothing is known.

        Args:
            left: What the estimate says now, in seconds.
            now: In seconds, by any clock.
            floor: What is shown at least.

        """
        if left is None:
            self._finish = None
            return None
        finish = now + left if self._finish is None else self._moved(self._finish, left, now)
        self._finish = max(finish, now + floor)
        self._at = now
        return self._finish - now

    def _moved(self, finish: float, left: float, now: float) -> float:
        gap = now + left - finish
        most = max(AWAY_SECONDS, AWAY_SHARE * left)
        self._is_moving = abs(gap) > (most * NEAR_ENOUGH if self._is_moving else most)
        passed = max(0.0, now - self._at)
        return finish + gap * (1 - math.exp(-passed / GLIDE_SECONDS)) if self._is_moving else finish


def left_at(facts: dict[str, Any], age: float) -> tuple[float | None, float]:
    """Return the seconds left by a job's metadata so long after it came, and the least that a countdown may show.

    The seconds are None if nothing is known, and infinite if no more than that it takes longer than usual.
    """
    learned = facts["time_left"] if is_learned(facts) else {}
    floor = max(0.0, number(learned.get("floor")) or 0.0)
    eta, later = number(facts.get("eta_seconds")), learned.get("later")
    points: list[Point] = [] if eta is None else [(0.0, eta)]
    points += [(each[0], each[1]) for each in (later if isinstance(later, list) else []) if _is_point(each)]
    if not points or points[0][0] > age:
        return None, floor
    before, after = points[-1], None
    for first, second in pairwise(points):
        if second[0] > age:
            before, after = first, second
            break
    return max(floor, _between(before, after, age)), floor


def is_learned(facts: dict[str, Any]) -> bool:
    """Return whether the time left comes from earlier runs."""
    return isinstance(facts.get("time_left"), dict)


def rounded_left(seconds: float, before: float | None = None) -> float:
    """Return the seconds rounded, given what was shown before: upwards only where that is worth a change."""
    if seconds <= 0:
        return 0
    step = next((step for least, step in STEPS if seconds >= least), 10)
    near = step / 2 if seconds < 10 else half_up(seconds / step) * step
    return before if before is not None and near > before and seconds < before + UPWARDS * step else near


def left_words(rounded: float) -> str:
    """Return rounded seconds in words: «about 4½ min», «1:35 left»."""
    if rounded <= 0:
        return "any moment"
    if rounded < 10:
        return "less than 10 s"
    if rounded < 60:
        return f"{rounded:g} s left"
    if rounded < 120:
        return f"{minutes_words(rounded)} left"
    if rounded < 600 and rounded % 60:
        return f"about {rounded // 60:g}½ min"
    return f"about {rounded / 60:g} min" if rounded < 5400 else f"about {duration_words(rounded)}"


def minutes_words(seconds: float) -> str:
    """Return seconds as minutes and seconds, 3:40."""
    minutes, rest = divmod(half_up(seconds), 60)
    return f"{minutes}:{rest:02}"


def duration_words(seconds: float) -> str:
    """Return a duration in its two largest units; nobody needs the seconds of an hour."""
    whole = math.ceil(seconds)
    if whole < 60:
        return f"{max(1, whole)} s"
    if whole < 3600:
        return _pair(*divmod(whole, 60), "min", "s")
    minutes = half_up(whole / 60)
    if minutes < 1440:
        return _pair(*divmod(minutes, 60), "h", "min")
    return _pair(*divmod(half_up(minutes / 60), 24), "d", "h")


def number(value: object) -> float | None:
    """Return the value if it is a number that can be shown, else None: metadata may hold anything."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER
    return value if known else None  # type: ignore[return-value]


def half_up(value: float) -> int:
    """Return the nearest whole number, as JavaScript rounds."""
    return math.floor(value + 0.5)


def _pair(large: int, small: int, large_unit: str, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"


def _between(before: Point, after: Point | None, age: float) -> float:
    """Between two moments on a line; behind the last one, or before one of which nothing is known, by the clock."""
    at, left = before
    if left is None:
        return math.inf
    if after is not None and after[1] is not None:
        return left + (after[1] - left) * (age - at) / (after[0] - at)
    return max(0.0, left - (age - at))


def _is_point(point: object) -> bool:
    """``later`` has moments of which nothing is known but that they are longer than usual: null stands there."""
    if not isinstance(point, list) or len(point) < 2 or number(point[0]) is None:
        return False
    return point[1] is None or number(point[1]) is not None

"""What earlier runs of a job's kind took, and where one of them would be by now. As usual.js."""

import math
from typing import Any

from .time_left import duration_words, half_up, minutes_words, number

ENOUGH_RUNS = 5  # for a range


def usual_words(usual: object) -> str:
    """Return what earlier runs took: «the last 12 runs took 3:40–4:30»; empty if that is unknown."""
    known = _known(usual)
    if known is None:
        return ""
    runs, seconds, scaled = known["runs"], known["seconds"], known.get("scaled")
    if _has_range(known):
        took = _range_words(seconds[0], seconds[-1])
        return f"runs of this size take {took}" if scaled else f"the last {runs} runs took {took}"
    took = _range_words(_median(known), _median(known))
    if scaled:
        return f"runs of this size take about {took}"
    return f"one earlier run took {took}" if runs == 1 else f"{runs} earlier runs took about {took}"


def is_longer(usual: object, elapsed: float | None) -> bool:
    """Return whether a run takes longer than nine in ten; with few earlier ones nobody can say."""
    known = _known(usual)
    return known is not None and _has_range(known) and elapsed is not None and elapsed > known["seconds"][-1]


def usual_percent(usual: object, elapsed: float | None) -> int | None:
    """Return at which percentage a usual run would be after so many seconds; None if that is unknown."""
    known = _known(usual)
    if known is None or elapsed is None or not isinstance(known.get("curve"), list):
        return None
    curve, median = [0, *known["curve"]], _median(known)
    if len(curve) < 2 or not all(_is_percent(each) for each in curve) or median <= 0:
        return None
    place = min(1.0, elapsed / median) * (len(curve) - 1)
    before = math.floor(place)
    after = min(before + 1, len(curve) - 1)
    return half_up(curve[before] + (curve[after] - curve[before]) * (place - before))


def _range_words(low: float, high: float) -> str:
    """Return a range of seconds: «42–58 s», «3:40–4:30», or in words from an hour on; one figure if both are alike."""
    least, most = half_up(low), half_up(high)
    if most >= 3600:
        return _joined(duration_words(least), duration_words(most), " – ")
    if most >= 60:
        return _joined(minutes_words(least), minutes_words(most))
    return _joined(str(least), str(most)) + " s"


def _joined(low: str, high: str, dash: str = "–") -> str:
    return low if low == high else f"{low}{dash}{high}"


def _has_range(usual: dict[str, Any]) -> bool:
    return usual["runs"] >= ENOUGH_RUNS and len(usual["seconds"]) > 1


def _median(usual: dict[str, Any]) -> float:
    """Return the middle of 10, 50 and 90 %, or the only one."""
    seconds: list[float] = usual["seconds"]
    return seconds[len(seconds) // 2]


def _known(usual: object) -> dict[str, Any] | None:
    """Return what was told if it makes sense, else None."""
    if not isinstance(usual, dict):
        return None
    runs, seconds = usual.get("runs"), usual.get("seconds")
    if type(runs) is not int or runs < 1 or not isinstance(seconds, list) or not seconds:
        return None
    return usual if all(number(each) is not None and each >= 0 for each in seconds) else None


def _is_percent(value: object) -> bool:
    known = number(value)
    return known is not None and 0 <= known <= 100

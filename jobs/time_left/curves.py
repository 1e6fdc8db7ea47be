"""How a stage went: the shares that were done at 32 even moments of its time. Pure.

Even in time, not in progress: so what is read off is wrong by at most a 32nd of the time, whatever the shape.
"""

import base64
import struct
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

POINTS = 32  # moments
FULL = 65_535  # a share in 16 bits: with 8, a stage whose last 0.2 % take half of the time could not be told

Point = tuple[float, float]  # seconds, and what was done by then
Curve = tuple[int, ...]  # the shares at the moments 1/32, 2/32 … of the time, as parts of `FULL`

_SHARES = struct.Struct(f"<{POINTS}H")
LINEAR: Curve = tuple(FULL * moment // POINTS for moment in range(1, POINTS + 1))


def evenly(points: Sequence[Point], seconds: float) -> list[float]:
    """Return what was done at 32 even moments.

    Args:
        points: What was done when, both rising; between two of them it rises evenly.
        seconds: The whole time.

    """
    done, index, last = [], 0, len(points) - 1
    for moment in range(1, POINTS + 1):
        at = seconds * moment / POINTS
        while index < last and points[index + 1][0] <= at:
            index += 1
        begin, value = points[index]
        if index < last:
            end, to = points[index + 1]
            value += (to - value) * (at - begin) / (end - begin)
        done.append(value)
    return done


def packed(points: Sequence[Point], seconds: float) -> bytes:
    """Return the curve of a stage by its points of seconds and share, as 64 bytes."""
    return _SHARES.pack(*(round(FULL * share) for share in evenly(points, seconds)))


def unpacked(curve: bytes | None) -> Curve:
    """Return a curve; an even one where none was kept."""
    return LINEAR if curve is None else _SHARES.unpack(curve)


def share_of_time(curve: Curve, share: float) -> float:
    """Return after which share of its time a stage had done ``share``, from 0 to 1."""
    done = share * FULL
    index = bisect_left(curve, done)
    if index == POINTS:
        return 1.0
    before = curve[index - 1] if index else 0
    within = (done - before) / (curve[index] - before) if curve[index] > before else 1.0
    return (index + within) / POINTS


def text_of(values: bytes) -> str:
    """Return bytes as they are stored: a third longer."""
    return base64.b64encode(values).decode().rstrip("=")


def bytes_of(text: str, length: int) -> bytes:
    """Return what was stored.

    Raises:
        ValueError: It is not so many bytes.

    """
    values = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    if len(values) != length:
        raise ValueError(f"{len(values)} bytes are no curve")
    return values


def curve_of(text: str) -> bytes:
    """Return a curve that was stored.

    Raises:
        ValueError: It is none.

    """
    curve = bytes_of(text, _SHARES.size)
    require_rising(_SHARES.unpack(curve))
    return curve


def require_rising(values: Sequence[int]) -> None:
    """Raise where what was done becomes less.

    Raises:
        ValueError: It does.

    """
    if any(later < earlier for earlier, later in pairwise(values)):
        raise ValueError("a curve does not fall")

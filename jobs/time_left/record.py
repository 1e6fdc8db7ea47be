"""What is kept of a run: how long each of its stages took, and how it went. Pure."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from ..states import STAGE_SEPARATOR
from .curves import POINTS, bytes_of, curve_of, require_rising, text_of

MAX_SECONDS = 8_640_000.0  # 100 days
MAX_TOTAL = 1e18
MAX_SEGMENTS = 100
MAX_TEXT = 2_400  # bytes of a run: then at least five are kept
# Which segments keep their curve, by their share of the time: fewer where all would take too much.
CURVES = (0.02, 0.1, math.inf)

Key = tuple[str, bool, int]  # of a segment: its stage, whether it counts, and the how many-th of that in its run


class Segment(NamedTuple):
    """A stage with a count of its own, or a silent one. A count that goes on over a change of stage is one segment.

    Args:
        stage: Its name.
        is_counted: Whether it counts.
        seconds: How long it took.
        total: How many units there were; None where that is not known, or grew.
        curve: How it went, as `curves.packed` makes it; None where that is not kept.

    """

    stage: str
    is_counted: bool
    seconds: float
    total: float | None = None
    curve: bytes | None = None


@dataclass(frozen=True)
class Run:
    """How a run went.

    Args:
        seconds: How long it took.
        segments: In their order, at least one.
        unit: What was counted.
        size: How much there was to do, if that was told.
        plan: The stages that were planned, if that was told.
        percents: The percentage that was shown at 32 even moments; None if it once fell.

    """

    seconds: float
    segments: tuple[Segment, ...]
    unit: str = ""
    size: float | None = None
    plan: tuple[str, ...] = ()
    percents: bytes | None = None

    @cached_property
    def places(self) -> dict[Key, int]:
        """Where each segment stands."""
        return {key: place for place, key in enumerate(keys(self.segments))}

    @cached_property
    def total(self) -> float | None:
        """The first total that is known."""
        return next((segment.total for segment in self.segments if segment.total), None)

    @cached_property
    def stages(self) -> frozenset[str]:
        """The stages that it had, without those within them."""
        return frozenset(outermost(segment.stage) for segment in self.segments)

    def text(self) -> str | None:
        """Return its course as it is stored; None if it has too many stages to be kept."""
        texts = (json.dumps(self._stored(least), separators=(",", ":"), ensure_ascii=False) for least in CURVES)
        return next((text for text in texts if len(text.encode()) <= MAX_TEXT), None)

    def _stored(self, least: float) -> dict[str, Any]:
        least_seconds = least * self.seconds
        segments = [_stored(each, with_curve=each.seconds >= least_seconds) for each in self.segments]
        stored: dict[str, Any] = {"segments": segments}
        if self.plan:
            stored["plan"] = self.plan
        if self.percents is not None:
            stored["percents"] = text_of(self.percents)
        return stored


def keys(segments: Iterable[Segment]) -> list[Key]:
    """Return the key of each segment."""
    seen: dict[tuple[str, bool], int] = {}
    found = []
    for stage, is_counted, *_ in segments:
        number = seen[stage, is_counted] = seen.get((stage, is_counted), 0) + 1
        found.append((stage, is_counted, number))
    return found


def outermost(stage: str) -> str:
    """Return the stage that a stage is within, or itself."""
    return stage.partition(STAGE_SEPARATOR)[0]


def run_of(seconds: float, unit: str, size: float | None, text: str) -> Run:
    """Return a run as it was stored.

    Raises:
        ValueError: What is stored there is none.

    """
    stored = json.loads(text)
    if not isinstance(stored, dict) or not isinstance(segments := stored.get("segments"), list):
        raise ValueError("no course of a run")
    if not 1 <= len(segments) <= MAX_SEGMENTS:
        raise ValueError("no course of a run")
    percents = stored.get("percents")
    plan = stored.get("plan", [])
    if not isinstance(plan, list) or not all(isinstance(name, str) for name in plan):
        raise ValueError("no plan")
    return Run(
        _number(seconds, MAX_SECONDS),
        tuple(map(_segment, segments)),
        unit,
        None if size is None else _number(size, MAX_TOTAL),
        tuple(plan),
        None if percents is None else _percents(percents),
    )


def _stored(segment: Segment, *, with_curve: bool) -> list[Any]:
    """Return a segment as it is stored: a silent one has two fields, one with a count three or four."""
    stored: list[Any] = [segment.stage, _short(segment.seconds)]
    if segment.is_counted:
        stored.append(_whole(segment.total))
        if with_curve and segment.curve is not None:
            stored.append(text_of(segment.curve))
    return stored


def _whole(total: float | None) -> float | None:
    return int(total) if total is not None and float(total).is_integer() else total


def _short(seconds: float) -> float:
    return float(f"{seconds:.4g}")


def _segment(stored: Any) -> Segment:
    match stored:
        case [str(stage), seconds]:
            return Segment(stage, False, _number(seconds, MAX_SECONDS))
        case [str(stage), seconds, total, *curve] if len(curve) <= 1:
            known = None if total is None else _number(total, MAX_TOTAL)
            went = curve_of(_text(curve[0])) if curve else None
            return Segment(stage, True, _number(seconds, MAX_SECONDS), known, went)
    raise ValueError("no segment of a run")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value


def _percents(text: Any) -> bytes:
    percents = bytes_of(_text(text), POINTS)
    require_rising((*percents, 100))
    return percents


def _number(value: Any, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ValueError("no number that could be")
    return float(value)


def median_curve(curves: Sequence[bytes]) -> list[int]:
    """Return the median of some curves of percentages, moment by moment; it does not fall either."""
    return [sorted(values)[len(values) // 2] for values in zip(*curves, strict=True)]

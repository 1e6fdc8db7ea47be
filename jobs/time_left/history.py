"""What earlier runs of a kind say of the present one: by its stage, scaled to its size. Pure."""

from collections.abc import Collection
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from .curves import unpacked
from .estimate import Row, slope
from .record import Key, Run, keys, outermost

HALF_LIFE = 8  # runs after which an earlier one counts half
RIDGE = 0.3  # how many pairs the usual exponent of a size, 1, is worth
MOST_EXPONENT = 2.0
RATIOS = 1e-6, 1e6  # of two sizes; what is beyond is no size
LEAST_SECONDS = 1e-3  # of a segment
CHANGED, BEFORE_CHANGE = 3, 8  # so many runs that all took longer, or less, than each of so many before: it has changed
START: Key = ("", False, 1)  # how each run begins: silent, until its first report


class Work(NamedTuple):
    """How much there is to do this time, as far as that is known.

    Args:
        unit: What is counted.
        size: How much there is, if that was told at the start.
        total: The first total.
        plan: The stages that are planned, if that was told.

    """

    unit: str = ""
    size: float | None = None
    total: float | None = None
    plan: tuple[str, ...] = ()


@dataclass(frozen=True)
class History:
    """The runs of a kind, the newest first.

    Args:
        kind: The kind.
        runs: What is kept of them.

    """

    kind: str
    runs: tuple[Run, ...] = ()
    _known: dict[tuple[Key, float | None, Work], tuple[Row, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )  # the last answer of `rows`: it is the same all through a segment

    def rows(self, key: Key, total: float | None, work: Work, begun: Collection[str]) -> tuple[Row, ...]:
        """Return what each run that had a segment says of it.

        Args:
            key: The segment.
            total: Its total, if known.
            work: How much there is to do.
            begun: The stages that have begun.

        """
        asked = key, total, work
        rows = self._known.get(asked)
        if rows is None:
            self._known.clear()
            rows = self._known[asked] = tuple(self._rows(key, total, work, begun))
        return rows

    def recent(self, work: Work) -> tuple[Run, ...]:
        """Return the runs, without those before a change that all since have shown."""
        if len(self.runs) < CHANGED + BEFORE_CHANGE:
            return self.runs
        ratios = [ratio_of(run, work) for run in self.runs]
        pairs = [(1 / ratio, run.seconds) for run, ratio in zip(self.runs, ratios, strict=True) if ratio is not None]
        exponent = _exponent(pairs)
        times = [run.seconds * (ratio or 1) ** exponent for run, ratio in zip(self.runs, ratios, strict=True)]
        new, old = times[:CHANGED], times[CHANGED:]
        return self.runs[:CHANGED] if min(new) > max(old) or max(new) < min(old) else self.runs

    def _rows(self, key: Key, total: float | None, work: Work, begun: Collection[str]) -> list[Row]:
        scaled = _Scaled(self.recent(work), key, total, work)
        rows = []
        for age, (run, times) in enumerate(zip(scaled.runs, scaled.times, strict=True)):
            place = run.places.get(key)
            if place is not None:
                after = sum(
                    seconds
                    for segment, seconds in zip(run.segments[place + 1 :], times[place + 1 :], strict=True)
                    if not scaled.is_left_out(run, outermost(segment.stage))
                )
                after += sum(scaled.typical(stage) for stage in scaled.added(run, begun))
                curve = unpacked(run.segments[place].curve)
                rows.append(Row(sum(times[:place]), times[place], curve, after, 0.5 ** (age / HALF_LIFE)))
        return rows


class _Scaled:
    """Runs, and what each of their segments would have taken at the present size."""

    def __init__(self, runs: tuple[Run, ...], key: Key, total: float | None, work: Work) -> None:
        self.runs, self._plan = runs, work.plan
        self._of_size: dict[Key, list[tuple[float, float]]] = {}  # pairs of size and seconds
        self._of_total: list[tuple[float, float]] = []  # of the present segment, by its own total
        self._typical: dict[str, float] = {}
        ratios = [ratio_of(run, work) for run in runs]
        for run, ratio in zip(runs, ratios, strict=True):
            for place, each in enumerate(keys(run.segments) if ratio is not None else ()):
                segment = run.segments[place]
                self._of_size.setdefault(each, []).append((1 / (ratio or 1), segment.seconds))
                if each == key and segment.total:
                    self._of_total.append((segment.total, segment.seconds))
        exponents = {each: _exponent(pairs) for each, pairs in self._of_size.items()}
        own = _exponent(self._of_total)
        self.times = []
        for run, ratio in zip(runs, ratios, strict=True):
            times = []
            for each, place in run.places.items():
                seconds, own_total = run.segments[place].seconds, run.segments[place].total
                if ratio is not None and each == key and total and own_total:
                    seconds *= _within(total / own_total) ** own
                elif ratio is not None:
                    seconds *= ratio ** exponents[each]
                times.append(max(seconds, LEAST_SECONDS))
            self.times.append(times)

    def is_left_out(self, run: Run, stage: str) -> bool:
        """Return whether a stage was planned then, and is not now."""
        return bool(self._plan) and stage in run.plan and stage not in self._plan

    def added(self, run: Run, begun: Collection[str]) -> list[str]:
        """Return the stages that are planned now and have not begun, and that were neither planned nor there then."""
        return [
            stage for stage in self._plan if stage not in begun and stage not in run.plan and stage not in run.stages
        ]

    def typical(self, stage: str) -> float:
        """Return what a stage takes in the runs that have it; 0 if none has."""
        if stage not in self._typical:
            taken = [
                sum(seconds for one, seconds in zip(run.segments, times, strict=True) if outermost(one.stage) == stage)
                for run, times in zip(self.runs, self.times, strict=True)
                if stage in run.stages
            ]
            self._typical[stage] = median(taken) if taken else 0.0
        return self._typical[stage]


def ratio_of(run: Run, work: Work) -> float | None:
    """Return by what the work now is more than that of a run; None if they can't be compared."""
    if run.unit != work.unit:
        return None
    if work.size and run.size:
        return _within(work.size / run.size)
    return _within(work.total / run.total) if work.total and run.total else None


def _within(ratio: float) -> float:
    return min(RATIOS[1], max(RATIOS[0], ratio))


def _exponent(pairs: list[tuple[float, float]]) -> float:
    """Return b of seconds ~ size**b, drawn to 1."""
    return min(MOST_EXPONENT, max(0.0, slope(pairs, 1.0, RIDGE)))

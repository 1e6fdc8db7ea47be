"""Simulated kinds of jobs, and recorded ones: what their runs report, when, and how long they really took."""

import gzip
import json
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

RECORDED = Path(__file__).parent / "data/recorded_runs.jsonl.gz"
STRETCHED = 20.0  # recorded runs were short: their durations are replayed as so many times what they were
UNEVEN = "compile_tree", "mandelbrot", "matrix_grow", "unit_tests"  # of the recorded kinds
EVEN = "gzip_files", "hash_bytes", "steady"  # likewise: loops whose items take much the same


class Tick(NamedTuple):
    """A report: when, and what it counts; a stage that counts nothing is silent."""

    seconds: float
    stage: str = ""
    current: float | None = None
    total: float | None = None


@dataclass
class Run:
    """What a run reports, and when it ends.

    Args:
        ticks: The first at the start.
        seconds: How long it takes.
        is_whole: Whether a count is that of the run, whatever its stage.
        plan: The stages that are told at its start.
        size: How much there is to do, told at its start.

    """

    ticks: list[Tick] = field(default_factory=list)
    seconds: float = 0.0
    is_whole: bool = False
    plan: list[str] = field(default_factory=list)
    size: float | None = None

    @property
    def stages(self) -> list[str]:
        """Its stages in their order, which a rate has to know to say anything of the whole."""
        return list(dict.fromkeys(tick.stage for tick in self.ticks if tick.stage)) or [""]


class Work:
    """Makes a run, stage by stage, with a generator of its own."""

    def __init__(self, chance: random.Random) -> None:
        self.chance, self.run = chance, Run([Tick(0.0)])

    def spread(self, by: float) -> float:
        """Return a factor that is mostly within ``by`` of 1: the logarithm is normal."""
        return math.exp(self.chance.gauss(0, by))

    def silent(self, stage: str, seconds: float) -> None:
        """Do a stage that counts nothing."""
        self.run.ticks.append(Tick(self.run.seconds, stage))
        self.run.seconds += seconds

    def counted(
        self,
        stage: str,
        total: int,
        seconds: float,
        *,
        cost: Callable[[float], float] = lambda share: 1.0,
        noise: float = 0.3,
        reports: int = 100,
        begin: int = 0,
        whole: int = 0,
    ) -> None:
        """Do a stage of ``total`` units that takes so many seconds, but for the noise of each unit.

        Args:
            stage: Its name.
            total: How many units.
            seconds: How long it takes.
            cost: What a unit costs beside others, by the share that is done.
            noise: By how much a unit's time is spread.
            reports: How many at most.
            begin: What was counted before, of a count that is the whole run's.
            whole: The total of that.

        """
        steps = min(total, reports)
        costs = [cost((step + 0.5) / steps) for step in range(steps)]
        unit = seconds / (sum(costs) * math.exp(noise * noise / 2))
        self.run.ticks.append(Tick(self.run.seconds, stage, begin, whole or total))
        for step, each in enumerate(costs, 1):
            self.run.seconds += unit * each * self.spread(noise)
            self.run.ticks.append(Tick(self.run.seconds, stage, begin + round(total * step / steps), whole or total))


def _steady(work: Work, _: int) -> None:
    work.counted("", 1_000, 120 * work.spread(0.06), noise=0.2, reports=200)


def _sized(work: Work, _: int) -> None:
    rows = round(10 ** work.chance.uniform(2.5, 3.5))
    work.counted("", rows, 0.15 * rows * work.spread(0.15), reports=200)


def _resting(work: Work, _: int) -> None:
    """Wait for a while, now and then."""
    resting = [work.chance.random() < 0.015 for _ in range(200)]
    work.counted(
        "", 1_000, 130 * work.spread(0.08), cost=lambda share: 20 if resting[int(200 * share)] else 1, reports=200
    )


STAGES = (("fetch", 40, 6), ("parse", 900, 110), ("match", 900, 25), ("load", 900, 220), ("index", 12, 14))


def _stages(work: Work, _: int) -> None:
    pace = work.spread(0.12)
    for stage, total, seconds in STAGES:
        work.counted(stage, total, seconds * pace * work.spread(0.12))


def _one_count(work: Work, _: int) -> None:
    """Have one count over all stages."""
    pace, work.run.is_whole = work.spread(0.12), True
    for place, (stage, _, seconds) in enumerate(STAGES):
        time = seconds * pace * work.spread(0.12)
        work.counted(stage, 200, time, begin=200 * place, whole=1_000, reports=60)


def _warm_up(work: Work, _: int) -> None:
    slow = 8 * work.spread(0.2)
    work.counted("", 2_000, 200 * work.spread(0.15), cost=lambda share: slow if share < 0.1 else 1, reports=200)


def _slow_end(work: Work, _: int) -> None:
    slow = 19 * work.spread(0.2)
    work.counted("", 2_000, 380 * work.spread(0.15), cost=lambda share: slow if share > 0.95 else 1, reports=200)


def _superlinear(work: Work, _: int) -> None:
    rows = round(10 ** work.chance.uniform(2.5, 3.5))
    seconds = 150 * (rows / 1_000) ** 1.4 * work.spread(0.12)
    work.counted("", rows, seconds, cost=lambda share: 0.2 + share**1.5, reports=200)


def _sized_stages(work: Work, _: int) -> None:
    rows, pace = round(10 ** work.chance.uniform(2.5, 3.5)), work.spread(0.1)
    work.silent("connect", 12 * work.spread(0.2))
    work.counted("read", rows, 0.04 * rows * pace * work.spread(0.1))
    work.silent("sort", 0.03 * rows * pace * work.spread(0.15))
    work.counted("write", rows, 0.12 * rows * pace * work.spread(0.1))


def _told_size(work: Work, number: int) -> None:
    _sized_stages(work, number)
    work.run.size = next(tick.total for tick in work.run.ticks if tick.stage == "read")


def _coarse(work: Work, _: int) -> None:
    """Build ten packages, some of which always take long."""
    packages, pace = (3, 8, 2, 45, 5, 30, 4, 2, 60, 6), work.spread(0.12)
    work.counted("", 10, 200 * pace, cost=lambda share: packages[int(10 * share)], noise=0.15)


def _committing(work: Work, _: int) -> None:
    """Take a fifth of the time after all is counted."""
    pace = work.spread(0.12)
    work.counted("", 500, 80 * pace)
    work.run.seconds += 20 * pace * work.spread(0.15)


def _growing_slower(work: Work, number: int) -> None:
    """Take 2 % more than the run before, which the first count hides."""
    growth = 1.02**number
    work.counted("scan", 50, 20 * growth * work.spread(0.1), reports=50)
    work.counted("apply", round(400 * growth), 100 * growth * work.spread(0.1))


def _two_machines(work: Work, _: int) -> None:
    pace = work.chance.choice((1.0, 2.2)) * work.spread(0.05)
    for stage, total, seconds in (("build", 80, 90), ("test", 400, 160), ("pack", 10, 12)):
        work.counted(stage, total, seconds * pace * work.spread(0.05))


def _silent_middle(work: Work, _: int) -> None:
    pace = work.spread(0.1)
    work.counted("read", 300, 30 * pace * work.spread(0.1))
    work.silent("solve", 150 * pace * work.spread(0.25))
    work.counted("write", 300, 40 * pace * work.spread(0.1))


def _silent_or_not(work: Work, _: int) -> None:
    """Find the result of a silent stage ready, or not."""
    work.silent("restore", (4 if work.chance.random() < 0.6 else 120) * work.spread(0.15))
    work.counted("work", 500, 60 * work.spread(0.12))


def _left_out(work: Work, _: int, *, is_told: bool = False) -> None:
    """Leave out stages that have nothing to do; which those are, a plan may tell."""
    pace, chosen = work.spread(0.1), [work.chance.random() < 0.5 for _ in range(2)]
    stages = ["download"] * chosen[0] + ["convert"] + ["thumbnails"] * chosen[1] + ["publish"]
    work.run.plan = stages if is_told else []
    for stage in stages:
        match stage:
            case "download":
                work.silent(stage, 60 * pace * work.spread(0.2))
            case "publish":
                work.silent(stage, 20 * work.spread(0.15))
            case _:
                work.counted(stage, 200, 85 * pace * work.spread(0.1))


def _told_plan(work: Work, number: int) -> None:
    _left_out(work, number, is_told=True)


def _silent(work: Work, _: int) -> None:
    work.run.seconds = 180 * work.spread(0.25)


KINDS: dict[str, dict[str, Callable[[Work, int], None]]] = {
    "steady": {"steady": _steady, "sized": _sized, "resting": _resting},
    "uneven": {
        "stages": _stages,
        "one count": _one_count,
        "warm-up": _warm_up,
        "slow end": _slow_end,
        "superlinear": _superlinear,
        "sized stages": _sized_stages,
        "told size": _told_size,
        "coarse": _coarse,
        "committing": _committing,
        "growing slower": _growing_slower,
        "two machines": _two_machines,
    },
    "silent stages": {
        "silent middle": _silent_middle,
        "silent or not": _silent_or_not,
        "left out": _left_out,
        "told plan": _told_plan,
    },
    "silent": {"silent": _silent},
}


def simulated(make: Callable[[Work, int], None], count: int) -> list[Run]:
    """Return some runs of a kind, one after the other, always the same."""
    runs = []
    for number in range(count):
        work = Work(random.Random(f"{make.__name__}/{number}"))
        make(work, number)
        runs.append(work.run)
    return runs


def recorded(stretched: float = 1.0) -> dict[str, list[Run]]:
    """Return the recorded runs by kind, in their order; perhaps as if they had taken so many times as long."""
    kinds: dict[str, dict[int, Run]] = defaultdict(dict)
    for line in _lines():
        run = kinds[line["kind"]].setdefault(line["run"], Run())
        seconds = stretched * line["t"]
        if line["stage"] == "__end__":
            run.seconds = seconds
        else:
            run.ticks.append(Tick(seconds, line["stage"], line["current"], line["total"]))
    return {kind: [run for _, run in sorted(runs.items())] for kind, runs in kinds.items()}


def _lines() -> Iterator[dict[str, object]]:
    with gzip.open(RECORDED, "rt") as file:
        yield from map(json.loads, file)

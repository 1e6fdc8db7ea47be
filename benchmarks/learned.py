"""What `time_left` measures, in a process that has Django: errors of what is said, its ranges, its cost, its size."""

import json
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from benchmarks.kinds import EVEN, KINDS, STRETCHED, UNEVEN, Run, recorded, simulated
from benchmarks.replay import Replay, Said, kept_of
from jobs.time_left.record import Run as Kept
from jobs.time_left.store import MAX_RUNS

HISTORY = 12  # runs before those that are measured
FEW, RANGED = 3, (5, HISTORY)


class Kind(NamedTuple):
    """The runs of a kind, and what is kept of each."""

    runs: list[Run]
    kept: list[Kept]


class Measured(NamedTuple):
    """A run that was replayed, and what it said at even moments."""

    replay: Replay
    said: list[Said]


def main(tests: str) -> None:
    """Print all figures as JSON; each is one of a kind."""
    groups = {name: {kind: _simulated(kind, name, int(tests)) for kind in group} for name, group in KINDS.items()}
    figures: dict[str, dict[str, list[float]]] = {}
    for name, known in (("uneven", 1), ("uneven", FEW), ("uneven", HISTORY), ("steady", FEW), ("silent stages", FEW)):
        figures[f"simulated, {name}, {known}"] = _errors(
            {kind: _replayed(of, known) for kind, of in groups[name].items()}
        )
    real = {kind: Kind(runs, kept_of(runs)) for kind, runs in recorded(STRETCHED).items()}
    for name, chosen in (("uneven", UNEVEN), ("even", EVEN)):
        for known in (FEW, HISTORY):
            figures[f"recorded, {name}, {known}"] = _errors({kind: _replayed(real[kind], known) for kind in chosen})
    figures["about"] = _about([of for group in groups.values() for of in group.values()])
    print(json.dumps(figures))


def _simulated(kind: str, group: str, tests: int) -> Kind:
    runs = simulated(KINDS[group][kind], HISTORY + tests)
    return Kind(runs, kept_of(runs))


def _replayed(of: Kind, known: int) -> list[Measured]:
    """Replay the runs behind the first ones, each with what is known of so many before it."""
    found = []
    for number, run in enumerate(of.runs[HISTORY:], HISTORY):
        replay = Replay(run, of.kept[number - known : number])
        found.append(Measured(replay, list(replay.asked())))
    return found


def _errors(replayed: dict[str, list[Measured]]) -> dict[str, list[float]]:
    """Return the mean error of each kind, learned and by the rate, over the moments at which both say something."""
    figures: dict[str, list[float]] = {"learned": [], "rate": []}
    for runs in replayed.values():
        pairs = [pair for run in runs if (pair := _errors_of(run)) is not None]
        figures["learned"].append(statistics.fmean(learned for learned, _ in pairs))
        figures["rate"].append(statistics.fmean(rate for _, rate in pairs))
    return figures


def _errors_of(measured: Measured) -> tuple[float, float] | None:
    both = [(each.left, each.former, each.true) for each in measured.said if None not in (each.left, each.former)]
    whole = measured.replay.run.seconds
    learned = [_error(left, true, whole) for left, _, true in both]
    rate = [_error(former, true, whole) for _, former, true in both]
    return (statistics.fmean(learned), statistics.fmean(rate)) if both else None


def _error(said: float | None, true: float, whole: float) -> float:
    """Return an error as a share of the run's duration, 1 at most."""
    assert said is not None
    return min(1.0, abs(said - true) / whole)


def _about(kinds: Iterable[Kind]) -> dict[str, list[float]]:
    """Return how often the range holds the truth, how good the first number is, what it costs, what is stored."""
    figures: dict[str, list[float]] = {"held": [], "first": [], "cost": [], "size": []}
    for of in kinds:
        for known in RANGED:
            replayed = _replayed(of, known)
            figures["held"].append(statistics.fmean(_held(replayed)))
        figures["first"].append(statistics.fmean(_first(of, number) for number in range(HISTORY, len(of.runs))))
        costs = _costs(of)
        figures["cost"] += [1_000 * statistics.fmean(costs)] if costs else []
        sizes = [measured.replay.size for measured in replayed if measured.replay.ended() is not None]
        figures["size"].append(MAX_RUNS * statistics.fmean(sizes))
    return figures


def _held(replayed: Sequence[Measured]) -> list[bool]:
    said = [each for measured in replayed for each in measured.said]
    return [each.low <= each.true <= each.high for each in said if each.low is not None and each.high is not None]


def _costs(of: Kind) -> list[float]:
    """Return the seconds of each report of a run with as many before it as are kept."""
    replay = Replay(of.runs[-1], of.kept[-MAX_RUNS:])
    list(replay.asked())
    return replay.cost


def _first(of: Kind, number: int) -> float:
    """Return the error before anything is counted: of its first total, a job tells as it begins."""
    run = of.runs[number]
    replay = Replay(run, of.kept[number - HISTORY : number])
    for tick in run.ticks:
        if not tick.seconds:
            replay.report(tick)
    return _error(replay.shown(0.0)[0], run.seconds, run.seconds)

"""The time left, learned from earlier runs, against a rate that is smoothed over 5 seconds and knows all stages.

Runs of simulated kinds, and runs that were recorded, report to the shipped code: what is kept of a run is stored and
read again, and what a client shows is compared with what it took in truth, at a hundred even moments of each run. An
error is a share of the run's duration, 1 at most. Both are compared at moments at which both say something. Recorded
runs, of 0.5 to 98 s, are replayed as if they had taken twenty times as long.
"""

import statistics
from collections.abc import Iterable, Sequence

from benchmarks.kinds import EVEN, KINDS, UNEVEN, Run, recorded, simulated
from benchmarks.options import Options
from benchmarks.replay import Replay, Said, kept_of
from benchmarks.results import Ratio, Result, Row
from jobs.time_left.record import Run as Kept
from jobs.time_left.store import MAX_BYTES, MAX_RUNS

TITLE = "The time left, learned from earlier runs"
STRETCHED = 20.0  # recorded runs
COST = 0.3  # ms a report
Errors = tuple[list[float], list[float]]  # learned, and by the rate


def measure(options: Options) -> Result:
    """Replay; a figure is one of a kind."""
    result = Result("time_left", TITLE)
    tests = 3 if options.is_quick else 8
    kinds = {name: {kind: simulated(make, 12 + tests) for kind, make in group.items()} for name, group in KINDS.items()}
    kept = {kind: kept_of(runs) for group in kinds.values() for kind, runs in group.items()}
    for known, target in ((1, None), (3, 0.3), (12, 0.3)):
        replayed = {kind: _replayed(runs[12:], kept[kind][:12], known) for kind, runs in kinds["uneven"].items()}
        _compare(result, f"simulated, uneven, {known} runs", replayed, target)
    _cover(result, kinds, kept)
    for name in ("steady", "silent stages"):
        replayed = {kind: _replayed(runs[12:], kept[kind][:12], 3) for kind, runs in kinds[name].items()}
        _compare(result, f"simulated, {name}, 3 runs", replayed, 1.0 if name == "steady" else 0.5)
    real = recorded(STRETCHED)
    real_kept = {kind: kept_of(runs) for kind, runs in real.items()}
    for name, chosen, target in (("uneven", UNEVEN, 0.5), ("even", EVEN, 1.0)):
        for known in (3, 12):
            replayed = {
                kind: [
                    each
                    for place in range(12, len(real[kind]))
                    for each in _replayed(real[kind][place : place + 1], real_kept[kind][:place], known)
                ]
                for kind in chosen
            }
            _compare(result, f"recorded, {name}, {known} runs", replayed, target)
    return result


def _replayed(runs: Iterable[Run], kept: Sequence[Kept], known: int) -> list[tuple[Replay, list[Said]]]:
    found = []
    for run in runs:
        replay = Replay(run, kept[-known:])
        found.append((replay, list(replay.asked())))
    return found


def _errors(replay: Replay, said: Iterable[Said]) -> Errors:
    pairs = [(each.left, each.former, each.true) for each in said if each.left is not None and each.former is not None]
    whole = replay.run.seconds
    learned = [min(1.0, abs(left - true) / whole) for left, _, true in pairs]
    return learned, [min(1.0, abs(former - true) / whole) for _, former, true in pairs]


def _compare(
    result: Result, name: str, replayed: dict[str, list[tuple[Replay, list[Said]]]], target: float | None
) -> None:
    """Add the mean errors of each kind."""
    ours, former = [], []
    for runs in replayed.values():
        errors = [_errors(*run) for run in runs]
        pairs = [(statistics.fmean(a), statistics.fmean(b)) for a, b in errors if a]
        ours.append(statistics.fmean(a for a, _ in pairs))
        former.append(statistics.fmean(b for _, b in pairs))
    ratios = {kind: a / b for kind, a, b in zip(replayed, ours, former, strict=True)}
    worst = max(ratios, key=ratios.__getitem__)
    result.rows.append(Row(f"{name}: learned", ours, "of the duration", f"{worst}: {ratios[worst]:.2f} ×"))
    result.rows.append(Row(f"{name}: rate", former, "of the duration"))
    if target is not None:
        figure = statistics.fmean(ours) / statistics.fmean(former)
        result.ratios.append(Ratio(f"{name}: learned ÷ rate", figure, target, at_least=False))


def _cover(result: Result, kinds: dict[str, dict[str, list[Run]]], kept: dict[str, list[Kept]]) -> None:
    """Add how often the range holds the truth, how good the first number is, what it costs, and what is stored."""
    shares, firsts, costs, sizes = [], [], [], []
    for kind, runs in ((kind, runs) for group in kinds.values() for kind, runs in group.items()):
        for known in (5, 12):
            replayed = _replayed(runs[12:], kept[kind][:12], known)
            said = [each for _, answers in replayed for each in answers if each.low is not None]
            shares.append(statistics.fmean(_holds(each) for each in said))
        firsts.append(statistics.fmean(_first(run, kept[kind][:12]) for run in runs[12:]))
        costs.append(1_000 * statistics.fmean(cost for replay, _ in replayed for cost in replay.cost))
        sizes.append(MAX_RUNS * statistics.fmean(replay.size for replay, _ in replayed if replay.ended() is not None))
    result.rows.append(
        Row("the 10–90 % range holds the truth", shares, "of the moments", "of each kind, with 5 and with 12 runs")
    )
    result.rows.append(Row("the number before the first report is off by", firsts, "of the duration", "with 12 runs"))
    result.rows.append(Row("a report is decided on in", costs, "ms"))
    result.rows.append(Row("20 runs of a kind take", sizes, "bytes", f"what is beyond {MAX_BYTES:,} is not kept"))
    share = statistics.fmean(shares)
    result.ratios += [
        Ratio("the range holds the truth", share, 0.75, at_least=True, unit=""),
        Ratio("the range holds the truth", share, 0.9, at_least=False, unit=""),
        Ratio("before the first report", statistics.fmean(firsts), 0.2, at_least=False, unit="of the duration"),
        Ratio("a report", statistics.fmean(costs), COST, at_least=False, unit="ms"),
        Ratio("a kind, at most", min(max(sizes), MAX_BYTES), MAX_BYTES, at_least=False, unit="bytes"),
    ]


def _holds(said: Said) -> bool:
    assert said.low is not None
    assert said.high is not None
    return said.low <= said.true <= said.high


def _first(run: Run, kept: Sequence[Kept]) -> float:
    """Return the error before the first report."""
    left = Replay(run, kept).shown(0.0)[0]
    assert left is not None
    return min(1.0, abs(left - run.seconds) / run.seconds)

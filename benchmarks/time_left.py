"""The time left, learned from earlier runs, against a rate that is smoothed over 5 seconds and knows all stages.

Runs of simulated kinds, and runs that were recorded, report to the shipped code. What is kept of a run is stored and
read again; what a client shows is compared with what it took in truth, at a hundred even moments of each run. An error
is a share of the run's duration, 1 at most, and counts at moments at which both say something; a figure is one of a
kind. Recorded runs, of 0.5 to 98 s, are replayed as if they had taken twenty times as long.
"""

import json
import statistics

from benchmarks import site
from benchmarks.options import Options
from benchmarks.results import Ratio, Result, Row

TITLE = "The time left, learned from earlier runs"
RUN = "from benchmarks.learned import main; import sys; main(*sys.argv[1:])"
TARGETS = {
    "simulated, uneven, 3": 0.3,
    "simulated, uneven, 12": 0.3,
    "simulated, steady, 3": 1.0,
    "simulated, silent stages, 3": 0.5,
    "recorded, uneven, 3": 0.5,
    "recorded, uneven, 12": 0.5,
    "recorded, even, 12": 1.0,
}
LEAST, MOST = 0.75, 0.9  # of the moments, the range of 10–90 % holds the truth
FIRST = 0.2  # of the duration, the first number is off by
COST = 0.3  # ms a report
SIZE = 12 * 1024  # bytes a kind


def measure(options: Options) -> Result:
    """Replay all in a process of its own."""
    result = Result("time_left", TITLE)
    place = site.installed(options.folder / "time_left")
    figures: dict[str, dict[str, list[float]]] = json.loads(place.worker(RUN, "3" if options.is_quick else "8"))
    about = figures.pop("about")
    for name, errors in figures.items():
        result.rows += [Row(f"{name} earlier runs: {who}", each, "of the duration") for who, each in errors.items()]
        if name in TARGETS:
            ratio = statistics.fmean(errors["learned"]) / statistics.fmean(errors["rate"])
            result.ratios.append(Ratio(f"{name} earlier runs: learned ÷ rate", ratio, TARGETS[name], at_least=False))
    held, first, cost, size = about["held"], about["first"], about["cost"], about["size"]
    result.rows += [
        Row("the 10–90 % range holds the truth", held, "of the moments", "with 5 and with 12 earlier runs"),
        Row("the number before anything is counted is off by", first, "of the duration", "with 12 earlier runs"),
        Row("a report is decided on in", cost, "ms", "with 20 earlier runs"),
        Row("20 runs of a kind take", size, "bytes", "of a kind, what is beyond 12 KiB is not kept"),
    ]
    share = statistics.fmean(held)
    result.ratios += [
        Ratio("the range holds the truth, at least", share, LEAST, at_least=True, unit=""),
        Ratio("the range holds the truth, at most", share, MOST, at_least=False, unit=""),
        Ratio("before anything is counted", statistics.fmean(first), FIRST, at_least=False, unit="of the duration"),
        Ratio("a report", statistics.fmean(cost), COST, at_least=False, unit="ms"),
        Ratio("a kind takes", statistics.fmean(size), SIZE, at_least=False, unit="bytes"),
    ]
    return result

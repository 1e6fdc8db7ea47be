"""Log lines and ticks of a worker's jobs, written together: 50,000 lines and 10,000 ticks a second on SQLite.

A line is one of 1,000 of a job in one transaction, a tick one of 250 jobs; beside them the same, each in a transaction
of its own, as `log` and `mark_progress` do it. One process writes, and nobody watches.
"""

import json

from benchmarks import site
from benchmarks.options import Options
from benchmarks.results import Ratio, Result, Row
from tests.installation import Site

TITLE = "Lines and ticks of a worker's jobs, written together"
LINES, JOBS = 1_000, 250
TARGETS = {"SQLite": (50_000, 10_000), "PostgreSQL": (10_000, 5_000)}  # lines and ticks a second
TIMES = 3, 1.5  # as many lines and ticks as one by one
# Prints, for each round, how many lines and ticks a second it wrote one by one and together.
WRITE = """
import json, sys, time
from jobs.batch import Pending, log_decision, progress_decision, write_together
from jobs.lifecycle import ProcessingJobLifecycle
lines, jobs, rounds, batches = map(int, sys.argv[1:])
lifecycles = [ProcessingJobLifecycle.create() for _ in range(jobs)]
for lifecycle in lifecycles:
    lifecycle.mark_started()
one = lifecycles[0]
def lines_alone(number):
    for line in range(lines // 10):
        one.log(f"Line {line} of a worker that says much: round {number}")
    return lines // 10
def lines_together(number):
    said = [log_decision(f"Line {line} of a worker that says much: round {number}") for line in range(lines)]
    assert write_together([Pending(one, said)]) == [None]
    return lines
def ticks_alone(number):
    for lifecycle in lifecycles:
        lifecycle.mark_progress(number % 1000 / 10, message=f"Item {number}")
    return jobs
def ticks_together(number):
    reports = [progress_decision(number % 1000 / 10, message=f"Item {number}") for _ in lifecycles]
    assert write_together([Pending(*one) for one in zip(lifecycles, ([report] for report in reports))]) == [None] * jobs
    return jobs
for turn in range(rounds + 1):
    figures = []
    for work in lines_alone, lines_together, ticks_alone, ticks_together:
        began = time.perf_counter()
        done = sum(work(turn * batches + number) for number in range(batches))
        figures.append(done / (time.perf_counter() - began))
    if turn:
        print(json.dumps(figures))
"""


def measure(options: Options) -> Result:
    """Write, in turn one by one and together."""
    result = Result("joint_writes", TITLE)
    _on(result, "SQLite", site.installed(options.folder / "sqlite"), options)
    with site.postgres() as url:
        if url:
            _on(result, "PostgreSQL", site.installed(options.folder / "postgres", url), options)
    return result


def _on(result: Result, name: str, place: Site, options: Options) -> None:
    batches = 2 if options.is_quick else 10
    printed = place.worker(WRITE, *map(str, (LINES, JOBS, options.rounds, batches))).splitlines()
    rounds = [json.loads(line) for line in printed]
    whats = "lines, one by one", "lines, together", "ticks, one by one", "ticks, together"
    rows = [Row(f"{name}, {what}", [each[at] for each in rounds], "events/s") for at, what in enumerate(whats)]
    result.rows += rows
    for row, alone, target, times in zip(rows[1::2], rows[::2], TARGETS[name], TIMES, strict=True):
        result.ratios.append(Ratio(row.name, row.median, target, at_least=True, unit="events/s"))
        result.compare(row.name, alone.name, times)

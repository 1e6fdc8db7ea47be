"""A thousand jobs that report at once, from four processes: every end is right, and nobody hears of a locked database.

Each process has 250 jobs that count all the time, for some seconds, with four ticks a second each: 4,000 a second are
asked for. How many are written is what is measured.
"""

import json

from benchmarks import site
from benchmarks.options import Options
from benchmarks.results import Ratio, Result, Row
from tests.installation import Site, finish

TITLE = "1,000 jobs report at once, from 4 processes"
PROCESSES, JOBS = 4, 250
TARGETS = {"SQLite": 0, "PostgreSQL": 3_000}  # ticks a second
SECONDS = 20
# Counts for so many seconds in so many jobs; prints what was counted, and the words of every warning.
WORK = """
import contextlib, json, logging, sys, time
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Reporter
jobs, seconds = int(sys.argv[1]), float(sys.argv[2])
warned = []
class Keep(logging.Handler):
    def emit(self, record):
        warned.append(record.getMessage())
logging.getLogger("jobs").addHandler(Keep(logging.WARNING))
lifecycles = [ProcessingJobLifecycle.create() for _ in range(jobs)]
with contextlib.ExitStack() as stack:
    reports = [stack.enter_context(Reporter(each)) for each in lifecycles]
    print("ready", flush=True); input()
    ends = time.monotonic() + seconds
    turns = 0
    while time.monotonic() < ends:
        turns += 1
        for report in reports:
            report.advance()
        time.sleep(0.01)
    ended = time.monotonic()
took = time.monotonic() - ended
from jobs.models import JobEvent, ProcessingJob
ids = [each.job_id for each in lifecycles]
done = ProcessingJob.objects.filter(pk__in=ids, status="completed")
wrong = [job.pk for job in done if job.metadata["current"] != turns]
ticks = JobEvent.objects.filter(job_id__in=ids, kind="tick").count()
print(json.dumps({"ticks": ticks - jobs, "done": done.count(), "wrong": wrong, "warned": warned[:3], "took": took}))
"""


def measure(options: Options) -> Result:
    """Let all report, on each database."""
    result = Result("many_reporters", TITLE)
    _on(result, "SQLite", site.installed(options.folder / "sqlite"), options)
    with site.postgres() as url:
        if url:
            _on(result, "PostgreSQL", site.installed(options.folder / "postgres", url), options)
    return result


def _on(result: Result, name: str, place: Site, options: Options) -> None:
    seconds = 3 if options.is_quick else SECONDS
    figures = [_round(place, seconds) for _ in range(options.rounds)]
    row = Row(f"{name}, ticks written", figures, "ticks/s")
    result.rows.append(row)
    if TARGETS[name]:
        result.ratios.append(Ratio(row.name, row.median, TARGETS[name], at_least=True, unit="ticks/s"))


def _round(place: Site, seconds: int) -> float:
    workers = [place.start_worker(WORK, str(JOBS), str(seconds)) for _ in range(PROCESSES)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    found = [json.loads(finish(worker)) for worker in workers]
    if any(each["wrong"] or each["warned"] or each["done"] != JOBS for each in found):
        raise RuntimeError(f"an end is wrong, or somebody heard of trouble: {found}")
    return sum(each["ticks"] for each in found) / float(seconds)

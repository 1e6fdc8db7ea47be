"""Ended jobs pruned beside 20 workers: their slowest report takes 25 ms more at most, the pruner a tenth of a core."""

import json
import statistics
import subprocess
import time
from typing import Any

from benchmarks import site
from benchmarks.options import Options
from benchmarks.results import Ratio, Result, Row
from tests.installation import Site

TITLE = "Ended jobs pruned, while 20 workers report four times a second"
JOBS, EVENTS = 100_000, 11
PROCESSES, THREADS, RATE = 4, 5, 4
SLOWER, SHARE = 25.0, 10.0  # ms, percent of a core

# So many ended jobs, of so many events; in pieces, since a worker has a minute.
FILL = """
import sys
from datetime import timedelta
from django.utils import timezone
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
first, last, events = map(int, sys.argv[1:])
ended = timezone.now() - timedelta(days=100)
ids = [f"old-{number}" for number in range(first, last)]
ProcessingJob.objects.bulk_create(
    ProcessingJob(id=job_id, name=job_id, status="completed", seq=events, finished_at=ended) for job_id in ids
)
JobEvent.objects.bulk_create(
    (
        JobEvent(job_id=job_id, seq=seq, kind="tick", status="in_progress", message=f"Row {seq}", timestamp=ended)
        for job_id in ids
        for seq in range(1, events + 1)
    ),
    batch_size=5_000,
)
"""
# So many threads, each reports a job of its own for so many seconds; prints what each report took, in ms.
REPORT = """
import json, random, sys, threading, time
from django.db import connections
from jobs.lifecycle import ProcessingJobLifecycle
seconds, threads, rate = float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
took = []
def work(lifecycle):
    lifecycle.mark_started()
    time.sleep(random.random() / rate)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        lifecycle.mark_progress(random.random() * 100, message="Working")
        took.append((time.monotonic() - began) * 1e3)
        time.sleep(1 / rate)
    connections.close_all()
workers = [threading.Thread(target=work, args=[ProcessingJobLifecycle.create()]) for _ in range(threads)]
sys.stdin.readline()
for worker in workers: worker.start()
for worker in workers: worker.join()
print(json.dumps(took))
"""
# Prunes for so many seconds; prints how many jobs went, and the seconds of the processor.
PRUNE = """
import json, sys, time
from jobs.retention.pace import paced
from jobs.retention.pruning import Retention, prune
end, began, jobs = time.monotonic() + float(sys.argv[1]), time.process_time(), 0
for number in paced(prune(Retention.of(30, None)), lambda seconds: time.sleep(seconds) or time.monotonic() > end):
    jobs += number
print(json.dumps([jobs, time.process_time() - began]))
"""


def measure(options: Options) -> Result:
    """Let the workers report, in turn beside a pruner and without."""
    result = Result("pruning", TITLE)
    _on(result, "SQLite", site.installed(options.folder / "sqlite"), options)
    with site.postgres() as url:
        if url:
            _on(result, "PostgreSQL", site.installed(options.folder / "postgres", url), options)
    return result


def _on(result: Result, name: str, place: Site, options: Options) -> None:
    jobs, seconds = (2_000, 3.0) if options.is_quick else (JOBS, 20.0)
    for first in range(0, jobs, 2_000):
        place.worker(FILL, str(first), str(first + 2_000), str(EVENTS))
    alone, beside, pruned = [], [], []
    for _ in range(options.rounds):
        alone.append(slowest(place, seconds))
        pruner = place.start_worker(PRUNE, str(seconds))
        beside.append(slowest(place, seconds))
        pruned.append(_printed(pruner))
    share = 100 * sum(cpu for _, cpu in pruned) / (seconds * options.rounds)
    result.rows += [
        Row(f"{name}, slowest report, alone", alone, "ms"),
        Row(f"{name}, slowest report, while pruning", beside, "ms"),
        Row(f"{name}, pruned", [count / seconds for count, _ in pruned], "jobs/s"),
    ]
    slower = statistics.median(beside) - statistics.median(alone)
    result.ratios += [
        Ratio(f"{name}, slowest report, later by", slower, SLOWER, at_least=False, unit="ms"),
        Ratio(f"{name}, pruner's share of a core", share, SHARE, at_least=False, unit="%"),
    ]


def slowest(place: Site, seconds: float) -> float:
    """Return the ms of the slowest report of all workers; a database that is locked fails a worker, and so the run."""
    arguments = str(seconds), str(THREADS), str(RATE)
    workers = [place.start_worker(REPORT, *arguments) for _ in range(PROCESSES)]
    time.sleep(2)  # to import what they need
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("\n")
        worker.stdin.flush()
    return max(max(_printed(worker)) for worker in workers)


def _printed(process: "subprocess.Popen[str]") -> Any:
    output, errors = process.communicate(timeout=120)
    if process.returncode:
        raise RuntimeError(f"a worker failed:\n{errors[-3000:]}")
    return json.loads(output)

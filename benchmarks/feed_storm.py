"""50 sockets watch the list while 20,000 jobs are made: each hears of each, and none waits for the others.

A worker makes jobs for all to see as fast as it may, and writes into each when it was made. Each onlooker notes how
long after that it is told of the job; the worker is done long before, if they fall behind.
"""

import statistics

from benchmarks import onlookers, site
from benchmarks.options import Options
from benchmarks.results import Ratio, Result, Row
from tests.installation import Site

TITLE = "50 watch the list while 20,000 jobs are made"
JOBS, WATCHERS, MS = 20_000, 50, 100.0
FEED = '{"type": "subscribe", "feed": "all"}'
MAKE = """
import sys, time
from jobs.lifecycle import ProcessingJobLifecycle
began = time.monotonic()
for _ in range(int(sys.argv[1])):
    ProcessingJobLifecycle.create(public=True, metadata={"sent": time.time()})
print(time.monotonic() - began)
"""


def measure(options: Options) -> Result:
    """Make the jobs on SQLite alone, and on PostgreSQL with Redis."""
    result = Result("feed_storm", TITLE)
    _on(result, "SQLite", site.installed(options.folder / "sqlite"), options)
    with site.redis() as redis_url, site.postgres() as url:
        if redis_url and url:
            _on(result, "PostgreSQL + Redis", site.installed(options.folder / "postgres", url, redis_url), options)
    return result


def _on(result: Result, name: str, place: Site, options: Options) -> None:
    jobs = 500 if options.is_quick else JOBS
    p99s, slowest, seconds = [], [], []
    for _ in range(min(options.rounds, 3)):
        served = place.serve()
        with onlookers.there(f"{served.ws_url}/progress/ws", WATCHERS, FEED) as crowd:
            seconds.append(float(place.worker(MAKE, str(jobs))))
            seen = crowd.seen()
        served.stop()
        if set(seen["seen"]) != {jobs}:
            raise RuntimeError(f"of {jobs:,} jobs, the onlookers saw {sorted(set(seen['seen']))}")
        p99s.append(seen["p99"])
        slowest.append(seen["slowest"])
    result.rows += [
        Row(f"{name}, p99 of the slowest watcher", p99s, "ms"),
        Row(f"{name}, the latest of all", slowest, "ms"),
        Row(f"{name}, made", [jobs / each for each in seconds], "jobs/s"),
    ]
    result.ratios.append(
        Ratio(f"{name}, p99 of the slowest watcher", statistics.median(p99s), MS, at_least=False, unit="ms")
    )

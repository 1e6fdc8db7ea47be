"""1,000 jobs with a watcher each, from a worker through PostgreSQL and Redis: five times the tutorial's speed.

Ours: `mark_progress` (row, log and event in one transaction), the publisher's thread, the hub. The tutorial's:
``job.save()`` and ``async_to_sync(group_send)`` to its consumer on the Redis layer; it keeps no log.
"""

from typing import Any

from benchmarks import harness, rounds, site, workers
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Result, Row
from tests.installation import Site

JOBS = 1_000
TITLE = "1,000 jobs × 1 watcher: worker → PostgreSQL + Redis → server"
JOB = "job-{}"


def measure(options: Options) -> Result:
    """Run both in turn."""
    result = Result("thousand_jobs", TITLE)
    with site.redis_and_postgres(result) as urls:
        if urls is None:
            return result
        redis_url, database_url = urls
        place = site.installed(options.folder / "jobs", database_url, redis_url)
        workers.work(place, workers.MAKE_JOBS, JOBS, JOB)
        result.rows = _rows(place, redis_url, options)
    result.compare("ours, serve", "Channels tutorial, Redis", 5)
    return result


def _rows(place: Site, redis_url: str, options: Options) -> list[Row]:
    ours, theirs = catalogue.ours(place.env), catalogue.tutorial("core", redis_url)
    turns = (3, 1) if options.is_quick else (10, 3)  # events of each job
    found: dict[str, list[dict[str, Any]]] = {ours.name: [], theirs.name: []}
    with rounds.started([ours, theirs], options.folder) as (our_server, their_server):
        for _ in range(options.rounds):
            found[ours.name].append(_run(place, our_server, turns[0], workers.REPORT_MANY))
            found[theirs.name].append(_run(place, their_server, turns[1], workers.REPORT_MANY_TUTORIAL, redis_url))
    return [
        Row(name, [report["rate"] for report in seen], "events/s", rounds.note(seen)) for name, seen in found.items()
    ]


def _run(place: Site, server: harness.Server, turns: int, script: str, *more: str) -> dict[str, Any]:
    plan = {
        "url": server.url_of(JOB),
        "watchers": JOBS,
        "events": turns,
        "base": 0,
        "trigger": "none",
        "loose": True,
        "patience": 15,
    }
    return harness.run(server, plan, lambda: workers.work(place, script, JOBS, turns, *more))

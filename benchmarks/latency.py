"""200 watchers, 10 events a second: from the commit to the socket no slower than the specification's in-process design.

«In-process» is a job that runs in the server's process. «Through Redis» and «SQLite alone» have a worker's process.
The specification's design has no commit; its time counts from the call that publishes.
"""

import contextlib
from functools import partial
from typing import Any

from benchmarks import harness, site, workers
from benchmarks.harness import Server, Work
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Ratio, Result, Row

WATCHERS, RATE = 200, 10
TITLE = "200 watchers, 10 events/s: from commit to socket"


def measure(options: Options) -> Result:
    """Run each way in turn."""
    result = Result("latency", TITLE)
    # The first event of a worker's process, which connects, is one of them.
    events = RATE * (3 if options.is_quick else 20)
    with contextlib.ExitStack() as stack:
        redis_url = stack.enter_context(site.redis())
        alone = site.installed(options.folder / "alone")
        ours = stack.enter_context(harness.serving(catalogue.ours(alone.env), options.folder))
        theirs = stack.enter_context(harness.serving(catalogue.specification(), options.folder))
        work = partial(workers.work, alone, workers.REPORT, events, RATE)
        ways: dict[str, Work] = {
            "ours, in-process": partial(_run, ours, events, writes=1, loose=True),
            "specification, in-process": partial(_run, theirs, events),
            "ours, SQLite alone": partial(_run, ours, events, work),
        }
        if redis_url:
            place = site.installed(options.folder / "redis", redis_url=redis_url)
            server = stack.enter_context(harness.serving(catalogue.ours(place.env), options.folder))
            work = partial(workers.work, place, workers.REPORT, events, RATE)
            ways["ours, through Redis"] = partial(_run, server, events, work)
        result.rows = rows(ways, options.rounds)
    result.compare("ours, in-process, p99", "specification, in-process, p99", 1, at_least=False)
    for name, target in (("ours, through Redis, p99", 15), ("ours, SQLite alone, p99", 40)):
        if result.has(name):
            result.ratios.append(Ratio(name, result.row(name).median, target, at_least=False, unit="ms"))
    return result


def rows(ways: dict[str, Work], times: int) -> list[Row]:
    """Run each way in turn, so often; return what all deliveries took, in milliseconds."""
    for run in ways.values():
        run()  # the warm-up
    found: dict[str, list[list[float]]] = {name: [] for name in ways}
    for _ in range(times):
        for name, run in ways.items():
            found[name].append(run()["latencies"])
    return [
        Row(f"{name}, p{share}", [1000 * percentile(seen, share) for seen in lists], "ms")
        for name, lists in found.items()
        for share in (50, 99)
    ]


def _run(server: Server, events: int, work: Work | None = None, **plan: Any) -> dict[str, Any]:
    asked = {"watchers": WATCHERS, "events": events, "rate": RATE, "stamping": True, "patience": 15, **plan}
    if work:
        asked.update(trigger="none", loose=True)
    return harness.run(server, asked, work)


def percentile(ordered: list[float], share: int) -> float:
    """Return the value below which so many of a hundred lie."""
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)]

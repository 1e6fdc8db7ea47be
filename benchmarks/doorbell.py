"""200 watchers, 10 events a second of another process: from before `mark_progress` to the socket within 10 ms at p99.

On SQLite alone, and through Redis; on PostgreSQL alone within 15 ms. Then as many events as a worker can write, to 100
watchers. «Without» is the same worker, which does not ring the doorbell: servers look as often as they would in any
case. Last, what a server takes of the processor while nothing happens; one that can hear no doorbell has a file where
the folder of bells would be.
"""

import contextlib
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import harness, latency, site, workers
from benchmarks.harness import Server, Work
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Ratio, Result, Row
from tests.installation import Site

WATCHERS, RATE = 200, 10
BUSY_WATCHERS, BUSY_EVENTS = 100, 4_000
TARGETS = {"SQLite alone": 10, "PostgreSQL alone": 15, "through Redis": 10}  # milliseconds
BUSY, BUSY_TARGET = "SQLite alone, full speed", 20
IDLE, DEAF = "idle server, SQLite alone", "idle server that hears no doorbell"
SLOWED = 1.1
SUFFIX = "-bells"  # of the folder of bells (`progress.broker.bells`)
TITLE = "The doorbell: from before mark_progress to the sockets of another process"

# Reports progress of one job as `workers.REPORT` does, and rings or not; the stamps are of before each report. The job
# that it makes first has it connected, its statements compiled, and the bells found.
REPORT = (
    workers.PIN
    + """
from jobs.signals import job_event_committed
events, rate, how = int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
if how != "rings":
    assert job_event_committed.disconnect(dispatch_uid="progress.doorbell")
first = ProcessingJobLifecycle.create()
first.mark_started()
first.mark_progress(1, message="Item 1", stage="s3")
lifecycle = ProcessingJobLifecycle(payload.JOB)
stamps, began = [], time.monotonic()
for number in range(1, events + 1):
    if rate:
        time.sleep(max(0, began + number / rate - time.monotonic()))
    fields = payload.fields(number)
    stamps.append(time.monotonic())
    lifecycle.mark_progress(fields["progress"], message=fields["message"], stage="s3")
print(json.dumps({"began": began, "stamps": stamps}))
"""
)


def measure(options: Options) -> Result:
    """Run each way in turn, with the doorbell and without."""
    result = Result("doorbell", TITLE)
    events = RATE * (5 if options.is_quick else 20)
    with contextlib.ExitStack() as stack:
        ways: dict[str, Work] = {}
        redis_url, postgres_url = stack.enter_context(site.redis()), stack.enter_context(site.postgres())
        for name, databases, is_there in (
            ("SQLite alone", {}, True),
            ("PostgreSQL alone", {"database_url": postgres_url}, postgres_url),
            ("through Redis", {"redis_url": redis_url}, redis_url),
        ):
            if not is_there:
                continue
            place = site.installed(options.folder / name.replace(" ", "-"), **databases)
            server = stack.enter_context(harness.serving(catalogue.ours(place.env), options.folder))
            ways[name] = partial(_run, place, server, WATCHERS, events, RATE, "rings")
            if "alone" in name:
                ways[f"{name}, without"] = partial(_run, place, server, WATCHERS, events, RATE, "")
            if name == "SQLite alone":
                busy_events = BUSY_EVENTS // (4 if options.is_quick else 1)
                ways[BUSY] = partial(_run, place, server, BUSY_WATCHERS, busy_events, 0, "rings")
                ways[f"{BUSY}, without"] = partial(_run, place, server, BUSY_WATCHERS, busy_events, 0, "")
        result.rows = latency.rows(ways, options.rounds)
        for name, target in (*TARGETS.items(), (BUSY, BUSY_TARGET)):
            if result.has(row := f"{name}, p99"):
                result.ratios.append(Ratio(row, result.row(row).median, target, at_least=False, unit="ms"))
    _idle(result, options)
    return result


def _run(place: Site, server: Server, watchers: int, events: int, rate: float, how: str) -> dict[str, Any]:
    plan = {"watchers": watchers, "events": events, "stamping": True, "patience": 15, "trigger": "none", "loose": True}
    return harness.run(server, plan, partial(workers.work, place, REPORT, events, rate, how))


def _idle(result: Result, options: Options) -> None:
    """Compare what a server takes that waits for the doorbell, and one that does not."""
    with contextlib.ExitStack() as stack:
        ways = []
        for name in (IDLE, DEAF):
            place = site.installed(options.folder / name.replace(" ", "-"))
            if name == DEAF:
                Path(place.database_url.removeprefix("sqlite:///") + SUFFIX).touch()
            server = stack.enter_context(harness.serving(catalogue.ours(place.env), options.folder))
            ways.append((name, place, server, []))
        for _ in range(options.rounds):
            for _, place, server, figures in ways:
                figures.append(_idle_seconds(place, server, options.seconds))
    result.rows += [Row(name, figures, "ms a second") for name, _, _, figures in ways]
    result.compare(IDLE, DEAF, SLOWED, at_least=False)


def _idle_seconds(place: Site, server: Server, seconds: float) -> float:
    """Return the milliseconds of the processor that a server takes in a second in which nothing happens."""
    spent = []

    def wait() -> dict[str, Any]:
        before = server.cpu()
        time.sleep(seconds)
        spent.append(1000 * (server.cpu() - before) / seconds)
        return workers.work(place, REPORT, 1, 0, "rings")  # which ends the round

    plan = {"watchers": WATCHERS, "events": 1, "patience": 15, "trigger": "none", "loose": True}
    harness.run(server, plan, wait)
    return spent[0]

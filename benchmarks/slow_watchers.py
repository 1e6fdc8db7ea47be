"""10 % of 500 watchers stop reading: the others hardly notice, and the server's memory stays bounded.

Events are large, so that the kernel's buffers fill, and none may be coalesced: the hardest case. Segments are
as on Ethernet: for loopback's, Linux would buffer 4 MB for each socket, and nobody would be slow.
Each slow watcher must end with the final state, or closed, to resume from its position.

The 50 watch a job each, with texts of its own: of a job that others watch too, one copy would be kept for all. The
process keeps no more than one event of a job to replay, so that what grows is what waits. A control, with an outbox
that bounds nothing, shows what it would grow to.
"""

from collections import Counter
from typing import Any

from benchmarks import harness, site, workers
from benchmarks.latency import percentile
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Ratio, Result, Row

WATCHERS, SLOW = 500, 50
RATE, SECONDS, SIZE = 20, 10, 16_384  # 328 KB/s each: the kernel's buffers and the outbox fill within the run
OUTBOX, BUFFER = 262_144, 65_536 + SIZE  # bytes that may wait for each: our setting, and below it
BOUNDED = {"PROGRESS_OUTBOX_BYTES": str(OUTBOX)}
UNBOUNDED = {"PROGRESS_OUTBOX_BYTES": str(2**30), "PROGRESS_SEND_SECONDS": "600"}
JOB = "slow-{}"
TITLE = "10 % of 500 watchers stop reading"
READ, SLOWED, CONTROL = "ours, all read", f"ours, {SLOW} do not", f"ours, {SLOW} do not, unbounded"


def measure(options: Options) -> Result:
    """Run with and without slow watchers in turn, each on a fresh server, since memory is compared."""
    result = Result("slow_watchers", TITLE)
    place = site.installed(options.folder / "slow", PROGRESS_RING_EVENTS="1")
    workers.work(place, workers.MAKE_JOBS, SLOW, JOB)
    ways = {READ: (0, BOUNDED), SLOWED: (SLOW, BOUNDED), CONTROL: (SLOW, UNBOUNDED)}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for _ in range(min(options.rounds, 3)):
        for name, (slow, settings) in ways.items():
            found[name].append(_run(catalogue.ours({**place.env, **settings}), slow, options))
    for name, seen in found.items():
        result.rows += [
            Row(f"{name}, p99", [1000 * percentile(report["latencies"], 99) for report in seen], "ms"),
            Row(f"{name}, memory", [(report["peak_rss"] - report["idle_rss"]) / 2**20 for report in seen], "MiB more"),
        ]
    _compare(result, found)
    return result


def _compare(result: Result, found: dict[str, list[dict[str, Any]]]) -> None:
    result.compare(f"{SLOWED}, p99", f"{READ}, p99", 1.5, at_least=False)
    bound = SLOW * (OUTBOX + BUFFER) / 2**20
    grown = _grown(result, SLOWED)
    result.ratios.append(Ratio(f"memory for {SLOW} slow watchers", grown, bound, at_least=False, unit="MiB"))
    result.remarks.append(f"With an outbox that bounds nothing, they take {_grown(result, CONTROL):.0f} MiB.")
    for name in (SLOWED, CONTROL):
        ends = sum((Counter(report["slow"]) for report in found[name]), Counter())
        result.remarks.append(f"How the slow watchers of «{name}» ended: {_listed(ends)}.")


def _grown(result: Result, name: str) -> float:
    """Return how many MiB more a way takes than when all read."""
    return result.row(f"{name}, memory").median - result.row(f"{READ}, memory").median


def _listed(ends: Counter[str]) -> str:
    return ", ".join(f"{count} {how}" for how, count in ends.items())


def _run(peer: harness.Peer, slow: int, options: Options) -> dict[str, Any]:
    with harness.serving(peer, options.folder) as server:
        own = {"own_jobs": SLOW, "own_url": server.url_of(JOB)}
        plan = {"watchers": WATCHERS, "rate": RATE, "size": SIZE, "ethernet": True, **own}
        harness.run(server, {**plan, "events": RATE})  # whatever is made on the first use
        return harness.run(server, {**plan, "events": RATE * SECONDS, "stalled": slow, "stamping": True})

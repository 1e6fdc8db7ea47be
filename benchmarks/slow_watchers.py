"""10 % of 500 watchers stop reading: the others hardly notice, and the server's memory stays bounded.

Events are large, so that the kernel's buffers fill, and none may be coalesced: the hardest case. Segments are
as on Ethernet: for loopback's, Linux would buffer 4 MB for each socket, and nobody would be slow.
Each slow watcher must end with the final state, or closed, to resume from its position.
"""

from collections import Counter
from typing import Any

from benchmarks import harness, site
from benchmarks.latency import percentile
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Ratio, Result, Row

WATCHERS, SLOW = 500, 50
RATE, SECONDS, SIZE = 20, 10, 16_384  # 328 KB/s each: the kernel's buffers and the outbox fill within the run
OUTBOX, BUFFER = 262_144, 65_536 + SIZE  # bytes that may wait for each: our setting, and below it
TITLE = "10 % of 500 watchers stop reading"


def measure(options: Options) -> Result:
    """Run with and without slow watchers in turn, each on a fresh server, since memory is compared."""
    result = Result("slow_watchers", TITLE)
    peer = catalogue.ours(site.installed(options.folder / "slow", PROGRESS_OUTBOX_BYTES=str(OUTBOX)).env)
    found: dict[int, list[dict[str, Any]]] = {0: [], SLOW: []}
    for _ in range(min(options.rounds, 3)):
        for slow, reports in found.items():
            reports.append(_run(peer, slow, options))
    for name, slow in (("ours, all read", 0), ("ours, 50 do not", SLOW)):
        seen = found[slow]
        result.rows += [
            Row(f"{name}, p99", [1000 * percentile(report["latencies"], 99) for report in seen], "ms"),
            Row(f"{name}, memory", [(report["peak_rss"] - report["idle_rss"]) / 2**20 for report in seen], "MiB more"),
        ]
    _compare(result, found[SLOW])
    return result


def _compare(result: Result, slow: list[dict[str, Any]]) -> None:
    result.compare("ours, 50 do not, p99", "ours, all read, p99", 1.5, at_least=False)
    grown = result.row("ours, 50 do not, memory").median - result.row("ours, all read, memory").median
    bound = SLOW * (OUTBOX + BUFFER) / 2**20
    result.ratios.append(Ratio("memory for 50 slow watchers", grown, bound, at_least=False, unit="MiB"))
    ends = sum((Counter(report["slow"]) for report in slow), Counter())
    result.remarks.append(f"The slow watchers: {', '.join(f'{n} {how}' for how, n in ends.items())}.")


def _run(peer: harness.Peer, slow: int, options: Options) -> dict[str, Any]:
    with harness.serving(peer, options.folder) as server:
        harness.run(server, {"watchers": 50, "events": 20})
        plan = {"watchers": WATCHERS, "stalled": slow, "events": RATE * SECONDS, "rate": RATE, "size": SIZE}
        return harness.run(server, {**plan, "stamping": True, "ethernet": True})

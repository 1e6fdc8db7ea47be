"""An idle watcher, at 10,000 of them: at most 6 KiB more memory than a socket of bare Daphne."""

import resource
import statistics
from typing import Any

from benchmarks import harness, site
from benchmarks.harness import Peer
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Ratio, Result, Row

WATCHERS = 10_000
SPARE_FILES = 500
TITLE = "Memory of an idle watcher, at 10,000"
ALLOWED = 6.0  # KiB above bare Daphne


def measure(options: Options) -> Result:
    """Measure each on a fresh server, in turn."""
    result = Result("idle_memory", TITLE)
    watchers = _as_many_as_possible(2_000 if options.is_quick else WATCHERS)
    if watchers < WATCHERS:
        result.remarks.append(f"With {watchers:,} watchers (a quick run, or the limit of open files).")
    env = site.installed(options.folder / "idle").env
    peers = [catalogue.ours(env), catalogue.bare_daphne()]
    found: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for _ in range(min(options.rounds, 3)):
        for peer in peers:
            found[peer.name].append(_kib_each(peer, watchers, options))
    result.rows = [Row(name, figures, "KiB/watcher") for name, figures in found.items()]
    more = statistics.median(a - b for a, b in zip(*found.values(), strict=True))
    result.ratios.append(Ratio("ours, serve − bare Daphne", more, ALLOWED, at_least=False, unit="KiB"))
    return result


def _as_many_as_possible(wanted: int) -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - SPARE_FILES)


def _kib_each(peer: Peer, watchers: int, options: Options) -> float:
    with harness.serving(peer, options.folder) as server:
        harness.run(server, {"watchers": 50, "events": 1})  # whatever is loaded on the first use
        before = server.rss()
        # The event at the end shows that all were there.
        report: dict[str, Any] = harness.run(server, {"watchers": watchers, "events": 1})
    each: float = (report["idle_rss"] - before) / watchers / 1024
    return each

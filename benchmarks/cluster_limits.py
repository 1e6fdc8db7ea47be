"""Limits over all servers: to come costs at most 1.05 times what it costs without; unknown jobs delay nobody.

Watchers come to a server that counts its places in Redis, and to one that counts for itself, in turn: the server's
processor time for a handshake, a subscription and its snapshot. Then 50 watch a job of 50 events a second, first alone
and then beside 50 sockets of a stranger, who subscribe to jobs that there are not, as fast as they may and again
whenever they are closed: on PostgreSQL and Redis, where each such job could cost a query and a group.
"""

import statistics
from dataclasses import replace

from benchmarks import harness, site, strangers
from benchmarks.harness import Peer
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Ratio, Result, Row
from tests.installation import Site

WATCHERS = 2_000
TITLE = "Limits that a cluster keeps"
ALONE = """
import runpy
from progress.broker import layers
layers.shared_count = lambda layer: None
runpy.run_module("benchmarks.peers.ours", run_name="__main__", alter_sys=True)
"""
SHARED, OWN = "a watcher comes, places in Redis", "a watcher comes, own count"


def measure(options: Options) -> Result:
    """Measure both parts."""
    result = Result("cluster_limits", TITLE)
    with site.redis_and_postgres(result) as urls:
        if urls is None:
            return result
        redis_url, database_url = urls
        _come(result, site.installed(options.folder / "places", redis_url=redis_url), options)
        place = site.installed(options.folder / "unknown", database_url, redis_url, **strangers.LIMITED)
        _unknown(result, place, options)
    return result


def _come(result: Result, place: Site, options: Options) -> None:
    shared = catalogue.ours(place.env)
    own = replace(shared, command=lambda port, folder: [shared.command(port, folder)[0], "-c", ALONE, str(port)])
    watchers = 500 if options.is_quick else WATCHERS
    found: dict[str, list[float]] = {SHARED: [], OWN: []}
    for _ in range(options.rounds):
        for name, peer in ((SHARED, shared), (OWN, own)):
            found[name].append(_microseconds(peer, watchers, options))
    result.rows += [Row(name, figures, "µs") for name, figures in found.items()]
    result.compare(SHARED, OWN, 1.05, at_least=False)


def _microseconds(peer: Peer, watchers: int, options: Options) -> float:
    with harness.serving(peer, options.folder) as server:
        harness.run(server, {"watchers": 50, "events": 1})  # whatever is loaded on the first use
        load, before = harness.Load(harness.plan_for(server, {"watchers": watchers, "events": 1})), server.cpu()
        try:
            load.read()
            return (server.cpu() - before) / watchers * 1e6
        finally:
            load.process.kill()
            load.end()


def _unknown(result: Result, place: Site, options: Options) -> None:
    events = strangers.RATE * (2 if options.is_quick else 6)
    peer = catalogue.ours(place.env)
    seen = [strangers.run(peer, strangers.UNKNOWN, events, "", options) for _ in range(min(options.rounds, 3))]
    did = f"{seen[0]['opened']:,} connections, {seen[0]['sent'] / 1e6:,.1f} MB"
    result.rows += [
        Row("p99 of others alone", [report["alone"] for report in seen], "ms"),
        Row("p99 of others beside unknown jobs", [report["beside"] for report in seen], "ms", did),
    ]
    times = statistics.median(report["beside"] / report["alone"] for report in seen)
    result.ratios.append(Ratio("p99 beside unknown jobs ÷ alone", times, 2, at_least=False))

"""What strangers can take of a server: others' p99 at most doubles, and memory grows by 40 MiB at most.

50 watch a job of 50 events a second, first alone, then beside strangers at another address who do their worst
(`benchmarks.attack`), within the limits that a site has unless it sets its own. A latency counts from the moment at
which an event was due: where the server comes too late to make it, that is its delay as well. Each way on a fresh
server, ours and the same application on stock Daphne in turn. Behind a database that is stopped meanwhile, strangers
send what has to ask it; those who watch go on, since their events come past it.
"""

import contextlib
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from benchmarks import harness, site
from benchmarks.attack import WAYS
from benchmarks.harness import Peer, Server
from benchmarks.latency import percentile
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Ratio, Result, Row
from tests.servers import silent

WATCHERS, RATE = 50, 50
UNKNOWN = "unknown jobs"  # the way that is for a database and a channel layer which others use as well
SILENT = "subscriptions"  # the way that is for a database which does not answer
PLAN = {"watchers": WATCHERS, "rate": RATE, "burst": 1, "stamping": True}
LIMITED = {
    "PROGRESS_MAX_CONNECTIONS_PER_CLIENT": "200",
    "PROGRESS_MAX_HANDSHAKES_PER_SECOND": "100",
    "PROGRESS_MAX_HANDSHAKES_BURST": "2000",
}
RARELY = "60"  # seconds: what comes past the database looks, compared with it, like a log that was set back
TITLE = "Strangers do their worst: what the others notice"
ALLOWED, ALLOWED_MIB = 2, 40


def measure(options: Options) -> Result:
    """Run each way against each server, in turn; `benchmarks.cluster_limits` has one more."""
    result = Result("strangers", TITLE)
    events = RATE * (2 if options.is_quick else 6)
    with contextlib.ExitStack() as stack:
        alone = site.installed(options.folder / "strangers", **LIMITED)
        places = dict.fromkeys([way for way in WAYS if way != UNKNOWN], alone)
        if url := stack.enter_context(site.postgres()):
            places[SILENT] = site.installed(options.folder / "silent", url, PROGRESS_SWEEP_SECONDS=RARELY)
        else:
            del places[SILENT]
        for way, place in places.items():
            peers = [catalogue.ours(place.env), replace(catalogue.ours_on_daphne(place.env), exact=False)]
            found: dict[str, list[dict[str, Any]]] = {peer.name: [] for peer in peers}
            for _ in range(min(options.rounds, 3)):
                for peer in peers:
                    database = place.database_url if way == SILENT else ""
                    found[peer.name].append(run(peer, way, events, database, options))
            for name, seen in found.items():
                _add(result, name, way, seen)
            _promise(result, way, found[peers[0].name])
    return result


def run(peer: Peer, way: str, events: int, database: str, options: Options) -> dict[str, Any]:
    """Return the p99 alone and beside strangers, in ms, what memory grew by in MiB, and what the strangers did."""
    plan = {**PLAN, "events": events}
    with harness.serving(peer, options.folder) as server:
        harness.run(server, {**plan, "events": RATE})  # whatever is made on the first use
        alone = harness.run(server, plan)
        attacks: list[dict[str, Any]] = []

        def beside_it() -> dict[str, Any]:
            with silent(database) if database else contextlib.nullcontext(), attack(server, way) as done:
                time.sleep(events / RATE)
            attacks.append(done)
            return {}

        beside = harness.run(server, plan, beside_it)
    return {
        "alone": _p99(alone),
        "beside": _p99(beside),
        "memory": (beside["peak_rss"] - beside["idle_rss"]) / 2**20,
        "lost": beside["lost"],
        **attacks[0],
    }


def _p99(report: dict[str, Any]) -> float:
    late = sorted(at - report["began"] - (seq - report["first"]) / RATE for seq, at in report["stamps"])
    return 1000 * percentile(late, 99) if late else math.inf


@contextlib.contextmanager
def attack(server: Server, way: str) -> Iterator[dict[str, Any]]:
    """Let strangers do their worst meanwhile; what they did is in what this gives, afterwards."""
    done: dict[str, Any] = {}
    command = [sys.executable, "-m", "benchmarks.attack", json.dumps({"way": way, "port": server.port})]
    process = subprocess.Popen(
        command, cwd=harness.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: harness.settle([harness.CLIENT_CORE]),
    )  # fmt: skip
    try:
        yield done
    finally:
        output, _ = process.communicate()
    done.update(json.loads(output))


def _add(result: Result, peer: str, way: str, seen: list[dict[str, Any]]) -> None:
    """Add what was found, and for ours what it promises."""
    lost = sum(report["lost"] for report in seen)
    did = f"{seen[0]['opened']:,} connections, {seen[0]['sent'] / 1e6:,.0f} MB"
    result.rows += [
        Row(f"{way}, {peer}, p99 before", [report["alone"] for report in seen], "ms"),
        Row(
            f"{way}, {peer}, p99",
            [report["beside"] for report in seen],
            "ms",
            did + (f"; {lost:,} lost" if lost else ""),
        ),
        Row(f"{way}, {peer}, memory", [report["memory"] for report in seen], "MiB more"),
    ]


def _promise(result: Result, way: str, seen: list[dict[str, Any]]) -> None:
    """Hold ours against what is allowed."""
    times = statistics.median(report["beside"] / report["alone"] for report in seen)
    memory = statistics.median(report["memory"] for report in seen)
    result.ratios += [
        Ratio(f"{way}: p99 ÷ before", times, ALLOWED, at_least=False),
        Ratio(f"{way}: memory", memory, ALLOWED_MIB, at_least=False, unit="MiB more"),
    ]

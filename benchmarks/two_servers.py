"""Two servers behind one Redis: 1.7 times one, where there are cores for it; else as much processor time a delivery.

Each server has 500 watchers of one job; a worker's process reports its progress through Redis.
"""

import statistics
from functools import partial
from typing import Any

from benchmarks import harness, rounds, site, workers
from benchmarks.harness import CORES, Server
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Result, Row
from tests.installation import Site

WATCHERS, RATE = 500, 40
FULL_EVENTS = 3_000  # below what the publisher's queue and the sockets' buffers hold
TITLE = "Two servers behind one Redis"
ONE, TWO = "one server", "two servers"


def measure(options: Options) -> Result:
    """Run one and two servers in turn."""
    result = Result("two_servers", TITLE)
    with site.redis() as redis_url:
        if redis_url is None:
            result.remarks.append("Left out: it needs Redis.")
            return result
        place = site.installed(options.folder / "two", redis_url=redis_url)
        peer = catalogue.ours(place.env)
        cores = CORES[:2] if len(CORES) >= 4 else [CORES[0]] * 2
        with (
            harness.serving(peer, options.folder, cores[0]) as first,
            harness.serving(peer, options.folder, cores[1]) as second,
        ):
            _paced(result, place, [first, second], options)
            if len(CORES) >= 4:
                _full_speed(result, place, [first, second], options)
            else:
                result.remarks.append("Fewer than four cores: processor time is compared instead of throughput.")
    return result


def _paced(result: Result, place: Site, servers: list[Server], options: Options) -> None:
    events = RATE * (3 if options.is_quick else 8)
    one, two = _in_turn(place, servers, events, RATE, options.rounds)
    for name, runs in ((ONE, one), (TWO, two)):
        figures = [
            statistics.mean(1e6 * report["server_seconds"] / report["got"] for report in reports) for reports in runs
        ]
        result.rows.append(Row(f"{name}, processor time", figures, "µs/delivery"))
    result.compare(f"{TWO}, processor time", f"{ONE}, processor time", 1.1, at_least=False)


def _full_speed(result: Result, place: Site, servers: list[Server], options: Options) -> None:
    one, two = _in_turn(place, servers, FULL_EVENTS, 0, options.rounds)
    for name, runs in ((ONE, one), (TWO, two)):
        rates = [
            sum(report["got"] for report in reports) / max(report["seconds"] for report in reports) for reports in runs
        ]
        result.rows.append(Row(f"{name}, full speed", rates, "deliveries/s", rounds.note(runs[-1])))
    result.compare(f"{TWO}, full speed", f"{ONE}, full speed", 1.7)


def _in_turn(
    place: Site, servers: list[Server], events: int, rate: float, times: int
) -> tuple[list[list[dict[str, Any]]], list[list[dict[str, Any]]]]:
    _run(place, servers, events, rate)  # the warm-up
    one, two = [], []
    for _ in range(times):
        one.append(_run(place, servers[:1], events, rate))
        two.append(_run(place, servers, events, rate))
    return one, two


def _run(place: Site, servers: list[Server], events: int, rate: float) -> list[dict[str, Any]]:
    plan = {"watchers": WATCHERS, "events": events, "trigger": "none", "patience": 15, "loose": True}
    cores: list[int | None] = [*CORES[2:4]] if len(CORES) >= 4 else [CORES[-1]] * 2
    work = partial(workers.work, place, workers.REPORT, events, rate)
    return harness.run_all(servers, plan, work, cores[: len(servers)])

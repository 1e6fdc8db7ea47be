"""One job, 4,000 watchers: a delivery costs the server at most 1.3 times what it costs with 500.

At full speed, with events four at a time, beside bare picows and nchan; and for a job of ten events a second, one at a
time, which keeps the server busy for a part of the time only, at both sizes.
"""

from typing import Any

from benchmarks import harness, rounds, site
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Result, Row

FEW, MANY = 500, 4_000
RATE = 10  # events/s: so few that no server is saturated, and no event waits for another
LEAST_EVENTS = 20
TITLE = "One job, 4,000 watchers"
FULL_SPEED, SLOWLY = "full speed", f"{RATE} events/s"


def measure(options: Options) -> Result:
    """Run both sizes in turn, on each server."""
    result = Result("fanout_4000", TITLE)
    ours = catalogue.ours(site.installed(options.folder / "fanout").env)
    with rounds.started([ours, catalogue.bare_picows(), catalogue.nchan()], options.folder) as servers:
        for server in servers:
            events = {size: rounds.events_for(server, size, options.seconds) for size in (FEW, MANY)}
            result.rows += _rows(server, FULL_SPEED, events, options)
        events = dict.fromkeys((FEW, MANY), max(LEAST_EVENTS, int(RATE * options.seconds)))
        result.rows += _rows(servers[0], SLOWLY, events, options, rate=RATE, burst=1)
    for pace in (FULL_SPEED, SLOWLY):
        name = f"{ours.name}, {pace}"
        result.compare(f"{name}, {MANY}", f"{name}, {FEW}", 1.3, at_least=False)
    for name in ("bare picows", "nchan, nginx"):
        if result.has(f"{name}, {FULL_SPEED}, {MANY}"):
            more = result.ratio(f"{name}, {FULL_SPEED}, {MANY}", f"{name}, {FULL_SPEED}, {FEW}")
            result.remarks.append(f"At full speed, {MANY} ÷ {FEW} is {more:.2f} for {name}.")
    return result


def _rows(server: harness.Server, pace: str, events: dict[int, int], options: Options, **plan: Any) -> list[Row]:
    found: dict[int, list[dict[str, Any]]] = {size: [] for size in events}
    for _ in range(options.rounds):
        for size, count in events.items():
            found[size].append(harness.run(server, {"watchers": size, "events": count, **plan}))
    return [
        Row(
            f"{server.peer.name}, {pace}, {size}",
            [1e6 * report["server_seconds"] / report["got"] for report in reports],
            "µs of processor time a delivery",
            rounds.note(reports),
        )
        for size, reports in found.items()
    ]

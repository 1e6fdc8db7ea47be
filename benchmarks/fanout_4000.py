"""One job, 4,000 watchers: a delivery costs the server at most 1.3 times what it costs with 500.

Once for the same job, of a hundred events a second; and at full speed, beside bare picows and nchan.
"""

from typing import Any

from benchmarks import harness, rounds, site
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Result, Row

FEW, MANY = 500, 4_000
RATE = 100  # events/s
TITLE = "One job, 4,000 watchers"


def measure(options: Options) -> Result:
    """Run both sizes in turn, on each server."""
    result = Result("fanout_4000", TITLE)
    ours = catalogue.ours(site.installed(options.folder / "fanout").env)
    with rounds.started([ours, catalogue.bare_picows(), catalogue.nchan()], options.folder) as servers:
        result.rows = _rows(servers[0], f"{RATE} events/s", options, rate=RATE)
        for server in servers:
            result.rows += _rows(server, "full speed", options)
    for name in (f"{ours.name}, {RATE} events/s", f"{ours.name}, full speed"):
        result.compare(f"{name}, {MANY}", f"{name}, {FEW}", 1.3, at_least=False)
    for name in ("bare picows", "nchan, nginx"):
        if result.has(f"{name}, full speed, {MANY}"):
            more = result.ratio(f"{name}, full speed, {MANY}", f"{name}, full speed, {FEW}")
            result.remarks.append(f"At full speed, {MANY} ÷ {FEW} is {more:.2f} for {name}.")
    return result


def _rows(server: harness.Server, pace: str, options: Options, **more: Any) -> list[Row]:
    sizes = FEW, MANY
    if more:
        events = dict.fromkeys(sizes, int(RATE * options.seconds))
    else:
        events = {size: rounds.events_for(server, size, options.seconds) for size in sizes}
    found: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    for _ in range(options.rounds):
        for size in sizes:
            found[size].append(harness.run(server, {"watchers": size, "events": events[size], **more}))
    return [
        Row(
            f"{server.peer.name}, {pace}, {size}",
            [1e6 * report["server_seconds"] / report["got"] for report in reports],
            "µs of processor time a delivery",
            rounds.note(reports),
        )
        for size, reports in found.items()
    ]

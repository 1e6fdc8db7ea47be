"""One job, 4,000 watchers: a delivery costs at most 1.3 times what it costs with 500."""

from benchmarks import harness, rounds, site
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Result, Row

FEW, MANY = 500, 4_000
TITLE = "One job, 4,000 watchers"


def measure(options: Options) -> Result:
    """Run both sizes in turn, on our server and on bare picows."""
    result = Result("fanout_4000", TITLE)
    env = site.installed(options.folder / "fanout").env
    with rounds.started([catalogue.ours(env), catalogue.bare_picows()], options.folder) as servers:
        for server in servers:
            result.rows += _rows(server, options)
    result.compare(f"ours, serve, {MANY}", f"ours, serve, {FEW}", 1.3, at_least=False)
    return result


def _rows(server: harness.Server, options: Options) -> list[Row]:
    sizes = FEW, MANY
    events = {size: rounds.events_for(server, size, options.seconds) for size in sizes}
    found = {size: [] for size in sizes}
    for _ in range(options.rounds):
        for size in sizes:
            found[size].append(harness.run(server, {"watchers": size, "events": events[size]}))
    return [
        Row(
            f"{server.peer.name}, {size}",
            [1e6 / report["rate"] for report in reports],
            "µs/delivery",
            rounds.note(reports),
        )
        for size, reports in found.items()
    ]

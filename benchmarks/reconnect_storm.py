"""5,000 clients reconnect and resume, 200 events behind: all caught up in twice the time bare Daphne takes to accept.

Both get 48 handshakes at a time, which is what Daphne's own accept queue holds without dropping any.
"""

from typing import Any

from benchmarks import harness, rounds, site, workers
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Result, Row
from tests.installation import Site

CLIENTS, BEHIND = 5_000, 200
TITLE = "5,000 clients reconnect and resume, 200 events behind"


def measure(options: Options) -> Result:
    """Run both in turn."""
    result = Result("reconnect_storm", TITLE)
    clients = 1_000 if options.is_quick else CLIENTS
    place = site.installed(options.folder / "storm")
    workers.work(place, workers.REPORT, BEHIND + 50)
    caught_up, accepted = [], []
    with rounds.started([catalogue.ours(place.env), catalogue.bare_daphne()], options.folder) as (ours, bare):
        for _ in range(options.rounds + 1):  # the first is the warm-up
            caught_up.append(harness.run(ours, {"watchers": clients, **_resuming(place, ours)}))
            accepted.append(harness.run(bare, {"watchers": clients, "events": 1}))
    ours_seen = caught_up[1:]
    result.rows = [
        Row(
            "ours, serve, all caught up",
            [report["seconds"] for report in caught_up[1:]],
            "s",
            rounds.note(caught_up[1:]),
        ),
        Row("ours, serve, all accepted", [report["connected"] for report in ours_seen], "s"),
        Row("bare Daphne, all accepted", [report["connected"] for report in accepted[1:]], "s"),
    ]
    result.compare("ours, serve, all caught up", "bare Daphne, all accepted", 2, at_least=False)
    if clients != CLIENTS:
        result.remarks.append(f"A quick run, with {clients:,} clients.")
    return result


def _resuming(place: Site, server: harness.Server) -> dict[str, Any]:
    job = place.job("bench")
    base = job["seq"] - BEHIND
    url = f"{server.url}?epoch={job['epoch']}&seq={base}"
    return {"urls": [url], "base": base, "events": BEHIND, "resumes": True, "loose": True, "trigger": "none"}

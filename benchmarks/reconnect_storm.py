"""5,000 clients reconnect and resume, 200 events behind: all caught up in twice the time bare Daphne takes to accept.

Both get 48 handshakes at a time, which is what Daphne's own accept queue holds without dropping any. What a process
keeps of a job in memory is enough for 200 events; 2,000 are more, and have to be read from the log.
"""

from typing import Any

from benchmarks import harness, rounds, site, workers
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Result, Row
from tests.installation import Site

CLIENTS, BEHIND = 5_000, 200
FEWER, FAR_BEHIND = 1_000, 2_000
TITLE = "5,000 clients reconnect and resume, 200 events behind"
CAUGHT_UP, ACCEPTED = "ours, serve, all caught up", "bare Daphne, all accepted"
Reports = list[dict[str, Any]]


def measure(options: Options) -> Result:
    """Run all in turn."""
    result = Result("reconnect_storm", TITLE)
    clients, fewer = (1_000, 200) if options.is_quick else (CLIENTS, FEWER)
    place = site.installed(options.folder / "storm")
    workers.work(place, workers.REPORT, FAR_BEHIND + 50, 0)
    near, far, accepted = _reports(place, clients, fewer, options)
    result.rows = [
        Row(CAUGHT_UP, [report["seconds"] for report in near], "s", rounds.note(near)),
        Row("ours, serve, all accepted", [report["connected"] for report in near], "s"),
        Row(ACCEPTED, [report["connected"] for report in accepted], "s"),
        Row(
            f"ours, {fewer:,} clients {FAR_BEHIND:,} behind",
            [report["seconds"] for report in far],
            "s",
            rounds.note(far),
        ),
    ]
    result.compare(CAUGHT_UP, ACCEPTED, 2, at_least=False)
    if clients != CLIENTS:
        result.remarks.append(f"A quick run, with {clients:,} clients.")
    return result


def _reports(place: Site, clients: int, fewer: int, options: Options) -> tuple[Reports, Reports, Reports]:
    """Return the reports of those near behind, those far behind, and of bare Daphne; the first round is the warm-up."""
    near, far, accepted = [], [], []
    with rounds.started([catalogue.ours(place.env), catalogue.bare_daphne()], options.folder) as (ours, bare):
        for _ in range(options.rounds + 1):
            near.append(harness.run(ours, {"watchers": clients, **_resuming(place, ours, BEHIND)}))
            accepted.append(harness.run(bare, {"watchers": clients, "events": 1}))
            far.append(harness.run(ours, {"watchers": fewer, **_resuming(place, ours, FAR_BEHIND)}))
    return near[1:], far[1:], accepted[1:]


def _resuming(place: Site, server: harness.Server, behind: int) -> dict[str, Any]:
    job = place.job("bench")
    base = job["seq"] - behind
    url = f"{server.url}?epoch={job['epoch']}&seq={base}"
    return {"url": url, "base": base, "events": behind, "resumes": True, "loose": True, "trigger": "none"}

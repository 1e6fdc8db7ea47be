"""Full-speed fan-out, several peers in turn: A B C, A B C, … so that a slow spell of the machine hits all."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.harness import Peer, Server
from benchmarks.results import Row

PROBE_EVENTS = 10  # the first look at a peer's speed, from which the length of its rounds follows
MOST_EVENTS = 6_000


@contextlib.contextmanager
def started(peers: list[Peer | None], folder: Path) -> Iterator[list[Server]]:
    """Run those of the peers that there are; idle ones cost the others nothing."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(harness.serving(peer, folder)) for peer in peers if peer is not None]


def events_for(server: Server, watchers: int, seconds: float) -> int:
    """Return how many events a peer delivers in about so many seconds. The look is also its warm-up."""
    events = PROBE_EVENTS
    for _ in range(2):
        report = harness.run(server, {"watchers": watchers, "events": events})
        events = max(PROBE_EVENTS, min(MOST_EVENTS, int(report["rate"] * seconds / watchers)))
    return events


def fan_out(peers: list[Peer | None], watchers: int, rounds: int, seconds: float, folder: Path) -> list[Row]:
    """Return the deliveries a second of each peer."""
    with started(peers, folder) as servers:
        events = {server.peer.name: events_for(server, watchers, seconds) for server in servers}
        reports: dict[str, list[dict[str, Any]]] = {server.peer.name: [] for server in servers}
        for _ in range(rounds):
            for server in servers:
                plan = {"watchers": watchers, "events": events[server.peer.name]}
                reports[server.peer.name].append(harness.run(server, plan))
    return [row(name, found) for name, found in reports.items()]


def row(name: str, reports: list[dict[str, Any]]) -> Row:
    """Return the row of one peer, with what it lost and how busy client and server were."""
    return Row(name, [report["rate"] for report in reports], "deliveries/s", note(reports))


def note(reports: list[dict[str, Any]]) -> str:
    """Say how busy client and server were, and what was lost."""
    seconds = sum(report["seconds"] for report in reports)
    client = max(sum(report["client_cpu"] for report in reports), 0) / seconds
    server = sum(report["server_seconds"] for report in reports) / seconds
    lost, got = sum(report["lost"] for report in reports), sum(report["got"] for report in reports)
    each = 1e6 * sum(report["server_seconds"] for report in reports) / max(got, 1)
    said = f"server {min(server, 1):.0%}, client {min(client, 1):.0%} busy; {each:.1f} µs of processor time each"
    if lost:
        said += f"; lost {lost / (lost + got):.1%}"
    problems = {problem for report in reports for problem in report["problems"]}
    return "; ".join([said, *sorted(problems)])

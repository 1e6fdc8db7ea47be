"""Where the server's time goes, at 500 and at 4,000 watchers: a profile by Linux' perf, of ours and of bare picows.

A write is one `send(2)` to one watcher: of four events by ours, of one by picows.
"""

import contextlib
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import harness, payload, rounds, site
from benchmarks.harness import Server
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Result, Row

SIZES = 500, 4_000
HERTZ = 4_999  # samples a second
TITLE = "Where the server's time goes"
PARTS = {  # by the first function of these that a sample's call chain holds
    "waking the client": ("sock_def_readable",),
    "the client's end of the connection": ("net_rx_action",),
    "send(2)": ("__sys_sendto",),
}
REST = "the program itself"
ALL = "all of it"
UNITS = [f"µs/write, {part}" for part in (ALL, *PARTS, REST)]


def measure(options: Options) -> Result:
    """Profile both servers at both sizes."""
    result = Result("where_time_goes", TITLE)
    if shutil.which("perf") is None:
        result.remarks.append("Left out: it needs Linux' perf.")
        return result
    ours, picows = catalogue.ours(site.installed(options.folder / "profile").env), catalogue.bare_picows()
    rows: list[Row] = []
    for peer, events in ((ours, payload.BURST), (picows, 1)):
        with harness.serving(peer, options.folder) as server:
            for watchers in SIZES:
                rows += _rows(server, watchers, events, options)
    result.rows = sorted(rows, key=lambda row: UNITS.index(row.unit))
    result.remarks += [_growth(result, name) for name in (ours.name, picows.name)]
    result.remarks.append("What loopback does for the client's end counts as the server's time.")
    return result


def _growth(result: Result, server: str) -> str:
    """Say by how much a server's time grows with the number of watchers, and how much of it is its program's."""
    few, many = ({row.unit: row.median for row in result.rows if row.name == f"{server}, {size}"} for size in SIZES)
    ratios = {part: many[unit] / few[unit] for part, unit in zip((ALL, *PARTS, REST), UNITS, strict=True)}
    said = ", ".join(f"{part} {ratio:.2f}" for part, ratio in ratios.items())
    share = few[UNITS[-1]] / few[UNITS[0]]
    return f"{server}, {SIZES[1]:,} ÷ {SIZES[0]}: {said}. At {SIZES[0]}, {share:.0%} of its time is {REST}."


def _rows(server: Server, watchers: int, events_a_write: int, options: Options) -> list[Row]:
    events = rounds.events_for(server, watchers, options.seconds)
    figures: dict[str, list[float]] = {unit: [] for unit in UNITS}
    for _ in range(options.rounds):
        samples, each = _profile(server, watchers, events, options.folder)
        samples[ALL] = samples.total()
        for part, unit in zip((ALL, *PARTS, REST), UNITS, strict=True):
            figures[unit].append(each * events_a_write * samples[part] / samples[ALL])
    return [Row(f"{server.peer.name}, {watchers}", seen, unit) for unit, seen in figures.items()]


def _profile(server: Server, watchers: int, events: int, folder: Path) -> tuple[Counter[str], float]:
    """Return how often each part was met, and the microseconds of processor time for each delivery."""
    data = folder / "perf.data"
    command = ["perf", "record", "-g", "-F", str(HERTZ), "-p", str(server.process.pid), "-o", str(data)]
    with contextlib.ExitStack() as stack:

        def record() -> dict[str, Any]:
            """Start once all are connected; the handshakes are another matter."""
            recorder = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(recorder.wait)
            stack.callback(recorder.send_signal, signal.SIGINT)
            return {}

        report = harness.run(server, {"watchers": watchers, "events": events}, record)
    script = ["perf", "script", "-i", str(data), "-F", "ip,sym"]
    printed = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    samples = Counter(_part(chain) for chain in printed.split("\n\n") if chain.strip())
    return samples, 1e6 * report["server_seconds"] / report["got"]


def _part(chain: str) -> str:
    return next((part for part, names in PARTS.items() if any(name in chain for name in names)), REST)

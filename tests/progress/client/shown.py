"""A bar in a terminal, given some frames."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console

from progress.client.connection import ConnectionState
from progress.client.server_clock import ServerClock
from progress.client.terminal import BarDisplay
from tests.progress.scripted_server import snapshot

USUAL = {"runs": 12, "seconds": [220.0, 245.0, 270.0], "curve": [*range(3, 96, 3), 100]}
STALLED = {"since": "2026-01-01T00:02:00Z", "then": "leave"}
LEARNED = {
    "current": 30_512,
    "total": 50_000,
    "unit": "rows",
    "eta_seconds": 101,
    "time_left": {"low": 80, "high": 130},
}


def bar(*frames: dict[str, Any], state: ConnectionState | None = None, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    display = BarDisplay(console)
    for frame in frames:
        display.frame_received(frame)
    if state:
        display.state_changed(state)
    with console.capture() as capture:
        console.print(display.render())
    return capture.get()


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def at(seconds: float, *frames: dict[str, Any], width: int = 120, encoding: str = "utf-8") -> list[str]:
    """Return the lines of a bar that were given these frames, by the server's clock, five minutes off ours."""
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding), width=width, force_terminal=False)
    display = BarDisplay(console)
    told = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).isoformat()
    clock = ServerClock()
    clock.hear({"type": "pong", "timestamp": told})
    display.state_changed(ConnectionState(True, clock=clock))
    for frame in frames:
        display.frame_received(frame)
    with console.capture() as capture:
        console.print(display.render())
    return [line.rstrip() for line in capture.get().splitlines()]


def learned(seq: int = 1, **fields: Any) -> dict[str, Any]:
    known = {"started_at": "2026-01-01T00:00:00Z", "timestamp": "2026-01-01T00:02:00Z", "usual": USUAL}
    return snapshot(seq, **{"progress": 61.0, "max_silence": 30, "metadata": LEARNED, **known, **fields})

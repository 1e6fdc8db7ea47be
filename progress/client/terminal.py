"""Shows a watched job in a terminal: as a live bar, as lines, or as JSON."""

import json
import math
from contextlib import AbstractContextManager, aclosing, nullcontext
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .connection import ConnectionState, Frame, ServerUnreachable, Token, WatchRefused, watch

COLOURS = {"completed": "green", "failed": "red", "cancelled": "yellow", "in_progress": "cyan"}
LEVELS = {"warning": "yellow", "error": "red", "critical": "red"}
MAX_BAR = 40  # characters
REFRESH_PER_SECOND = 10
MAX_COUNT = 1e18  # what the lifecycle stores at most
QUIET_SECONDS = 10.0  # without a report, after which the time since the last one is shown


class Exit(IntEnum):
    """How a watched job ended, as the exit code of a command."""

    COMPLETED = 0
    FAILED = 1
    CANCELLED = 2
    NOT_FOUND = 3
    OTHER = 4
    INTERRUPTED = 130


class Display(AbstractContextManager[Any], Protocol):
    """Shows the frames of a job, and whether the connection is up."""

    def frame_received(self, frame: Frame) -> None:
        """Show a frame."""

    def state_changed(self, state: ConnectionState) -> None:
        """Show that the connection was lost, or made again."""


class Output(Protocol):
    """What lines are written to: a text stream, or a command's ``stdout``."""

    def write(self, text: str, /) -> Any:
        """Write a text, which brings its own newlines."""

    def flush(self) -> Any:
        """Flush what was written."""

    def isatty(self) -> bool:
        """Return whether this is a terminal."""


def display_for(output: Output) -> "Display":
    """Return a live bar for a terminal, lines for anything else."""
    return BarDisplay(Console()) if output.isatty() else LineDisplay(output)


async def show(
    display: Display,
    url: str,
    job_id: str,
    *,
    token: Token | None = None,
    logs: bool = False,
    wait_for_server: bool = False,
) -> Exit:
    """Follow a job to its end and show it.

    Raises:
        progress.client.connection.WatchError: The server refused, or does not answer.
        ValueError: ``url`` is not a URL.

    """
    frames = watch(
        url, job_id, token=token, logs=logs, wait_for_server=wait_for_server, on_state_change=display.state_changed
    )
    status = ""
    with display:
        async with aclosing(frames):
            async for frame in frames:
                display.frame_received(frame)
                status = frame.get("status", status)
    return Exit[status.upper()]


def explain(error: Exception, url: str) -> tuple[str, Exit]:
    """Return in words why a watch ended before its job did, and the exit code."""
    match error:
        case WatchRefused(code="job_not_found"):
            return "Job not found, or it is not for you to see (--token admits to a private job).", Exit.NOT_FOUND
        case WatchRefused(code="not_authenticated"):
            return f"Not authenticated: {error.reason}", Exit.NOT_FOUND
        case ServerUnreachable():
            return f"Can't connect to {url}: {error}. Start a server with: manage.py serve", Exit.OTHER
    return str(error), Exit.OTHER


def plain(text: object) -> str:
    """Return a text on one line, with a space for each control character."""
    return "".join(char if char.isprintable() else " " for char in str(text)).strip()


class JsonDisplay(nullcontext[None]):
    """Prints each frame as one line of JSON, for pipes."""

    def __init__(self, stream: Output) -> None:
        super().__init__()
        self.stream = stream

    def frame_received(self, frame: Frame) -> None:
        """Write the frame."""
        self.stream.write(json.dumps(frame) + "\n")  # in ASCII, which every encoding can write
        self.stream.flush()

    def state_changed(self, state: ConnectionState) -> None:
        """Print nothing: the frames after a lost connection continue the earlier ones, or a snapshot replaces them."""


class LineDisplay(nullcontext[None]):
    """Prints a line for each change of status or stage, and for each log line; for files and pipes."""

    def __init__(self, stream: Output) -> None:
        super().__init__()
        self.stream = stream
        self.shown: tuple[object, object] | None = None

    def frame_received(self, frame: Frame) -> None:
        """Print a line if the status or the stage has changed, or if this is a log line."""
        if frame["type"] == "log":
            return self._line(f"{frame['level']}: {plain(frame['text'])}")
        stage = frame["metadata"].get("stage")
        words = status_words(frame)
        if self.shown == (words, stage):
            return None
        self.shown = words, stage
        shown = stage if frame["status"] == "in_progress" else None
        known = (words, percent(frame), shown, frame["message"])
        return self._line(" · ".join(filter(None, map(plain, filter(None, known)))))

    def state_changed(self, state: ConnectionState) -> None:
        """Print that the connection was lost."""
        if not state.connected:
            self._line(connection_words(state))

    def _line(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()


class BarDisplay:
    """Draws a live bar: the job's name, progress, speed, time left, stage and message."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.latest: Frame | None = None
        self.name = ""
        self.trouble = ""
        self.live = Live(
            get_renderable=self.render, console=console, refresh_per_second=REFRESH_PER_SECOND, vertical_overflow="crop"
        )

    def __enter__(self) -> "BarDisplay":
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def frame_received(self, frame: Frame) -> None:
        """Show the frame at the next refresh; a log line at once, above the bar."""
        if frame["type"] == "log":
            line = Text(plain(frame["text"]), style=LEVELS.get(frame["level"], "dim"))
            self.console.print(line)
            return
        self.name = frame.get("name") or self.name
        self.latest = frame

    def state_changed(self, state: ConnectionState) -> None:
        """Show in place of the message that the connection was lost, and of what time the bar is."""
        self.trouble = "" if state.connected else connection_words(state)

    def render(self) -> RenderableType:
        """Return what is shown now."""
        if self.latest is None:
            return Text(self.trouble or "connecting …", style="dim")
        return Group(self._title(), self._bar(self.latest), self._activity(self.latest))

    def _title(self) -> Text:
        assert self.latest is not None
        job_id = self.latest["job_id"]
        title = Text(no_wrap=True, overflow="ellipsis")
        title.append(plain(self.name) or job_id, style="bold")
        return title.append(f"  {job_id}", style="dim") if self.name else title

    def _bar(self, frame: Frame) -> Table:
        colour = "bright_black" if self.trouble else COLOURS.get(frame["status"], "white")
        known = frame["progress"] is not None
        running = frame["status"] == "in_progress"
        bar = ProgressBar(
            total=100,
            completed=frame["progress"] or 0,
            pulse=not known and running and not self.trouble,
            width=max(10, min(MAX_BAR, self.console.width - 58)),
            complete_style=colour,
            finished_style=colour,
        )
        row = Table.grid(padding=(0, 2, 0, 0))
        for ratio in (None, None, None, 1):
            row.add_column(no_wrap=True, overflow="ellipsis", ratio=ratio)
        row.add_row(
            Text(status_words(frame), style=colour), bar, Text(f"{percent(frame):>6}"), Text(amounts(frame), "dim")
        )
        return row

    def _activity(self, frame: Frame) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis")
        if frame["status"] == "in_progress" and (quiet := quiet_words(frame)):
            line.append(f"{quiet}  ", style="yellow")
        if self.trouble:
            return line.append(self.trouble, style="yellow")
        error = frame["metadata"].get("error") if frame["status"] == "failed" else None
        if frame["status"] == "in_progress" and (stage := frame["metadata"].get("stage")):
            line.append(plain(stage), style="cyan")
            line.append("  ")
        return line.append(plain(frame["message"] or error or ""), style="red" if error else "")


def status_words(frame: Frame) -> str:
    """Return the status in words, with the number of the attempt after the first."""
    facts = frame["metadata"]
    attempt = facts.get("attempt", 1)
    words: str = frame["status"].replace("_", " ")
    if frame["status"] == "in_progress" and facts.get("cancel_requested"):
        words = "cancelling — the worker has not answered" if facts.get("cancel_unanswered") else "cancelling"
    return words if attempt == 1 else f"{words} (attempt {attempt})"


def percent(frame: Frame) -> str:
    """Return whole percents, rounded down, so that only a finished job shows 100 %; empty while unknown."""
    return "" if frame["progress"] is None else f"{math.floor(frame['progress'])} %"


def amounts(frame: Frame) -> str:
    """Return what is known of the amount done, the total, the speed and the time left."""
    facts = frame["metadata"]
    unit = plain(facts.get("unit", ""))
    current, total, rate, eta = (_number(facts.get(key)) for key in ("current", "total", "rate", "eta_seconds"))
    parts = []
    if current is not None:
        parts.append(_count(current, unit) if total is None else f"{_count(current, unit)} of {_count(total, unit)}")
    if frame["status"] == "in_progress":
        if rate:
            parts.append(f"{_count(rate, unit)}/s")
        if eta is not None and eta < timedelta.max.total_seconds():
            parts.append(f"{timedelta(seconds=round(eta))} left")
    return " · ".join(parts)


def quiet_words(frame: Frame, now: datetime | None = None) -> str:
    """Return how long ago the job last reported; empty if that was within `QUIET_SECONDS`."""
    quiet = (now or datetime.now(UTC)) - datetime.fromisoformat(frame["timestamp"])
    if quiet < timedelta(seconds=QUIET_SECONDS):
        return ""
    return f"last report {timedelta(seconds=round(quiet.total_seconds()))} ago"


def connection_words(state: ConnectionState) -> str:
    """Return in words that the connection is lost, and why."""
    if state.as_of is None:
        return f"connecting … ({plain(state.reason)})"
    return f"reconnecting, as of {state.as_of.astimezone():%H:%M:%S} ({plain(state.reason)})"


def _number(value: object) -> float | None:
    """Return the value if it is a number that can be shown, else None: metadata may hold anything."""
    known = isinstance(value, int | float) and 0 <= value <= MAX_COUNT
    return value if known else None  # type: ignore[return-value]


def _count(number: float, unit: str) -> str:
    if unit == "bytes":
        return decimal(round(number))
    return f"{number:,.0f} {unit}".strip() if number >= 10 or number == int(number) else f"{number:.1f} {unit}".strip()

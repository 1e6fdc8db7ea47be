"""What a terminal shows of a job that is followed through its WebSocket: a live bar, lines, or JSON."""

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

from .connection import Frame, Link, ServerUnreachable, Token, WatchRefused, watch

COLOURS = {"completed": "green", "failed": "red", "cancelled": "yellow", "in_progress": "cyan"}
LEVELS = {"warning": "yellow", "error": "red", "critical": "red"}
MAX_BAR = 40  # characters
REFRESH_PER_SECOND = 10
MAX_COUNT = 1e18  # what the lifecycle stores at most
QUIET_SECONDS = 10.0  # without a report, after which it is shown when the last one was


class Exit(IntEnum):
    """How a watched job ended, as the exit code of a command."""

    COMPLETED = 0
    FAILED = 1
    CANCELLED = 2
    NOT_FOUND = 3
    OTHER = 4
    INTERRUPTED = 130


class Display(AbstractContextManager[Any], Protocol):
    """Something that shows frames."""

    def frame(self, frame: Frame) -> None:
        """Show news of the job."""

    def link(self, link: Link) -> None:
        """Show that the connection was lost, or stands again."""


class Output(Protocol):
    """What lines are written to: a text stream, or a command's ``stdout``."""

    def write(self, text: str, /) -> Any:
        """Write a text that ends its own lines."""

    def flush(self) -> Any:
        """Let the text go out."""

    def isatty(self) -> bool:
        """Tell whether somebody looks at a terminal."""


def display_for(output: Output) -> "Display":
    """Return a live bar for a terminal, else lines."""
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
        ValueError: The address is none.

    """
    frames = watch(url, job_id, token=token, logs=logs, wait_for_server=wait_for_server, on_link=display.link)
    status = ""
    with display:
        async with aclosing(frames):
            async for frame in frames:
                display.frame(frame)
                status = frame.get("status", status)
    return Exit[status.upper()]


def explain(error: Exception, url: str) -> tuple[str, Exit]:
    """Return in words why a watch ended before its job, and the exit code."""
    match error:
        case WatchRefused(code="job_not_found"):
            return "Job not found, or it is not for you to see (--token admits to a private job).", Exit.NOT_FOUND
        case WatchRefused(code="not_authenticated"):
            return f"Not authenticated: {error.reason}", Exit.NOT_FOUND
        case ServerUnreachable():
            return f"Can't connect to {url}: {error}. Start a server with: manage.py serve", Exit.OTHER
    return str(error), Exit.OTHER


def plain(text: object) -> str:
    """Return a text on one line, without the characters that control a terminal."""
    return "".join(char if char.isprintable() else " " for char in str(text)).strip()


class JsonDisplay(nullcontext[None]):
    """One frame a line, for pipes."""

    def __init__(self, stream: Output) -> None:
        super().__init__()
        self.stream = stream

    def frame(self, frame: Frame) -> None:
        """Write the frame."""
        self.stream.write(json.dumps(frame) + "\n")  # ASCII, which every encoding has
        self.stream.flush()

    def link(self, link: Link) -> None:
        """Say nothing: what follows a lost connection is a resumed stream, or a snapshot that replaces it."""


class LineDisplay(nullcontext[None]):
    """A line for each change of status or stage, and for each log line; for files and pipes."""

    def __init__(self, stream: Output) -> None:
        super().__init__()
        self.stream = stream
        self.told: tuple[object, object] | None = None

    def frame(self, frame: Frame) -> None:
        """Write a line if there is something new to say."""
        if frame["type"] == "log":
            return self._line(f"{frame['level']}: {plain(frame['text'])}")
        stage = frame["metadata"].get("stage")
        if self.told == (frame["status"], stage):
            return None
        self.told = frame["status"], stage
        shown = stage if frame["status"] == "in_progress" else None
        known = (status_words(frame), percent(frame), shown, frame["message"])
        return self._line(" · ".join(filter(None, map(plain, filter(None, known)))))

    def link(self, link: Link) -> None:
        """Say that the connection was lost."""
        if not link.connected:
            self._line(link_words(link))

    def _line(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()


class BarDisplay:
    """A live bar: what the job is, how far, how fast, how long yet, and what it is at."""

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

    def frame(self, frame: Frame) -> None:
        """Show the frame at the next refresh; a log line at once, above the bar."""
        if frame["type"] == "log":
            line = Text(plain(frame["text"]), style=LEVELS.get(frame["level"], "dim"))
            self.console.print(line)
            return
        self.name = frame.get("name") or self.name
        self.latest = frame

    def link(self, link: Link) -> None:
        """Say in place of the message that the connection was lost, and since when the bar is old."""
        self.trouble = "" if link.connected else link_words(link)

    def render(self) -> RenderableType:
        """Return what is shown now."""
        if self.latest is None:
            return Text(self.trouble or "connecting …", style="dim")
        return Group(self._title(), self._bar(self.latest), self._doing(self.latest))

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

    def _doing(self, frame: Frame) -> Text:
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
    """Return the status for people, with the attempt where it is not the first."""
    attempt = frame["metadata"].get("attempt", 1)
    words: str = frame["status"].replace("_", " ")
    return words if attempt == 1 else f"{words} (attempt {attempt})"


def percent(frame: Frame) -> str:
    """Return whole percents, rounded down: 100 % is for what is done. Nothing while they are unknown."""
    return "" if frame["progress"] is None else f"{math.floor(frame['progress'])} %"


def amounts(frame: Frame) -> str:
    """Return how much is done of how much, how fast, and how long it will take, as far as known."""
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
    """Return how long ago the job last reported, or nothing while that is not long."""
    quiet = (now or datetime.now(UTC)) - datetime.fromisoformat(frame["timestamp"])
    if quiet < timedelta(seconds=QUIET_SECONDS):
        return ""
    return f"last report {timedelta(seconds=round(quiet.total_seconds()))} ago"


def link_words(link: Link) -> str:
    """Return a lost connection in words."""
    if link.as_of is None:
        return f"connecting … ({plain(link.reason)})"
    return f"reconnecting, as of {link.as_of.astimezone():%H:%M:%S} ({plain(link.reason)})"


def _number(value: object) -> float | None:
    """Return a number that can be shown; metadata need not hold one where it should."""
    known = isinstance(value, int | float) and 0 <= value <= MAX_COUNT
    return value if known else None  # type: ignore[return-value]


def _count(number: float, unit: str) -> str:
    if unit == "bytes":
        return decimal(round(number))
    return f"{number:,.0f} {unit}".strip() if number >= 10 or number == int(number) else f"{number:.1f} {unit}".strip()

"""Shows a watched job in a terminal: as a live bar, as lines, or as JSON."""

import json
from contextlib import AbstractContextManager, aclosing, nullcontext
from enum import IntEnum
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from .bar import bar_row
from .connection import ConnectionState, Frame, ServerUnreachable, Token, WatchRefused, watch
from .server_clock import ServerClock
from .silence import stalled_of, then_words
from .timing import Timing, Told, kept_of
from .words import connection_words, left_out, percent, plain, plain_output, quiet_words, status_words

LEVELS = {"warning": "yellow", "error": "red", "critical": "red"}
REFRESH_PER_SECOND = 10
MAX_PARTIAL = 1_000  # characters of a line of output that waits for its end; a longer one is broken


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
    output: bool = False,
    wait_for_server: bool = False,
) -> Exit:
    """Follow a job to its end and show it.

    Raises:
        progress.client.connection.WatchError: The server refused, or does not answer.
        ValueError: ``url`` is not a URL.

    """
    frames = watch(
        url,
        job_id,
        token=token,
        logs=logs,
        output=output,
        wait_for_server=wait_for_server,
        on_state_change=display.state_changed,
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
    """Prints a line for each change of status or stage, for each log line, and output as it is; for files and pipes."""

    def __init__(self, stream: Output) -> None:
        super().__init__()
        self.stream = stream
        self.shown: tuple[object, object] | None = None
        self.is_within_line = False  # of output

    def frame_received(self, frame: Frame) -> None:
        """Print a line if the status or the stage has changed, a log line, or output as it comes."""
        if frame["type"] in ("backscroll", "output"):
            return self._output(plain_output(frame.get("text", "")), left_out(frame))
        if frame["type"] == "log":
            return self._line(f"{frame['level']}: {plain(frame['text'])}")
        stage = frame["metadata"].get("stage")
        words = status_words(frame)
        if self.shown == (words, stage):
            return None
        self.shown = words, stage
        shown = stage if frame["status"] == "in_progress" else None
        stalled = stalled_of(frame)
        known = (words, percent(frame), shown, frame["message"], then_words(stalled) if stalled else "")
        return self._line(" · ".join(filter(None, map(plain, filter(None, known)))))

    def state_changed(self, state: ConnectionState) -> None:
        """Print that the connection was lost."""
        if not state.connected:
            self._line(connection_words(state))

    def _output(self, text: str, words: list[str]) -> None:
        if text:
            self.stream.write(text)
            self.stream.flush()
            self.is_within_line = not text.endswith("\n")
        for each in words:
            self._line(each)

    def _line(self, text: str) -> None:
        self.stream.write("\n" * self.is_within_line + text + "\n")
        self.stream.flush()
        self.is_within_line = False


class BarDisplay:
    """Draws a live bar: the job's name, progress, speed, time left, stage and message."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.latest: Frame | None = None
        self.name = ""
        self.trouble = ""
        self.partial = ""  # a line of output that is not complete yet
        self.clock = ServerClock()
        self.timing = Timing()
        self.live = Live(
            get_renderable=self.render, console=console, refresh_per_second=REFRESH_PER_SECOND, vertical_overflow="crop"
        )

    def __enter__(self) -> "BarDisplay":
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._output("\n" if self.partial else "")
        self.live.stop()

    def frame_received(self, frame: Frame) -> None:
        """Show the frame at the next refresh; a log line at once, above the bar."""
        if self.latest and frame["type"] in ("log", "output"):
            self.latest = {**self.latest, "heard_at": frame["timestamp"]}
        if frame["type"] in ("backscroll", "output"):
            self._output(plain_output(frame.get("text", "")))
            for words in left_out(frame):
                self._output("\n" if self.partial else "")
                self.console.print(Text(words, style="dim"))
            return
        if frame["type"] == "log":
            line = Text(plain(frame["text"]), style=LEVELS.get(frame["level"], "dim"))
            self.console.print(line)
            return
        self.name = frame.get("name") or self.name
        self.latest = kept_of(self.latest, frame)

    def _output(self, text: str) -> None:
        """Print whole lines above the bar; what is left of the last one is shown above it meanwhile."""
        whole, newline, self.partial = (self.partial + text).rpartition("\n")
        if len(self.partial) > MAX_PARTIAL:
            whole, newline, self.partial = whole + newline + self.partial, "\n", ""
        if newline:
            self.console.print(Text(whole))

    def state_changed(self, state: ConnectionState) -> None:
        """Show in place of the message that the connection was lost, and of what time the bar is."""
        self.trouble = "" if state.connected else connection_words(state)
        self.clock = state.clock

    def render(self) -> RenderableType:
        """Return what is shown now."""
        if self.latest is None:
            return Text(self.trouble or "connecting …", style="dim")
        partial = [Text(self.partial)] if self.partial else []
        told = self.timing.of(self.latest, self.clock.now(), is_live=not self.trouble)
        then = [Text(told.then, style="yellow")] if told.then else []
        row = bar_row(self.latest, told, options=self.console.options, is_live=not self.trouble)
        return Group(*partial, self._title(), row, self._activity(self.latest, told), *then)

    def _title(self) -> Text:
        assert self.latest is not None
        job_id = self.latest["job_id"]
        title = Text(no_wrap=True, overflow="ellipsis")
        title.append(plain(self.name) or job_id, style="bold")
        return title.append(f"  {job_id}", style="dim") if self.name else title

    def _activity(self, frame: Frame, told: Told) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis")
        is_told = "max_silence" in frame or stalled_of(frame)  # when to speak of silence
        if frame["status"] == "in_progress" and not is_told and (quiet := quiet_words(frame, self.clock.now())):
            line.append(f"{quiet}  ", style="yellow")
        if self.trouble:
            return line.append(self.trouble, style="yellow")
        error = frame["metadata"].get("error") if frame["status"] == "failed" else None
        if frame["status"] == "in_progress" and (stage := frame["metadata"].get("stage")):
            line.append(plain(stage), style="cyan")
            line.append("  ")
        if told.usual:
            line.append(f"{told.usual}  ", style="dim")
        return line.append(plain(frame["message"] or error or ""), style="red" if error else "")

"""The row of a job in a terminal: its status, a bar with a mark where a usual run would be by now, and figures."""

from rich.console import ConsoleOptions, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .connection import Frame
from .timing import Told
from .words import amounts, left_in_words, percent, status_words

COLOURS = {"completed": "green", "failed": "red", "cancelled": "yellow", "in_progress": "cyan"}
SHAPES = ("━", "─", "┃")  # done, to do, and where a usual run would be
ASCII = ("#", "-", "|")
MIN_BAR = 8  # characters
MAX_BAR = 40
FIGURES = 58  # characters beside the bar, which gives way to them
PERCENT_AND_GAPS = 16  # of these, what is never cut beside the status and the time left


def bar_row(frame: Frame, told: Told, *, options: ConsoleOptions, is_live: bool) -> Table:
    """Return the row of a job.

    Args:
        frame: Its state.
        told: What its timing says.
        options: The terminal's width and characters.
        is_live: Whether this is the present; the past is grey, and does not move.

    """
    is_silent = bool(told.silence or told.then)
    colour = "yellow" if is_silent else COLOURS.get(frame["status"], "white")
    colour = colour if is_live else "bright_black"
    status, left = status_words(frame), left_in_words(told)
    free = min(options.max_width - FIGURES, options.max_width - len(status) - len(left) - PERCENT_AND_GAPS)
    width = max(MIN_BAR, min(MAX_BAR, free))
    bar: RenderableType
    if frame["progress"] is None and frame["status"] == "in_progress" and is_live and not is_silent:
        bar = ProgressBar(pulse=True, width=width)
    else:
        usual, ascii_only = told.usual_percent, options.ascii_only
        bar = bar_text(frame["progress"] or 0, width, colour, usual=usual, ascii_only=ascii_only)
    row = Table.grid(padding=(0, 2, 0, 0))
    for can_shrink in (False, False, False, False, True):
        row.add_column(no_wrap=not can_shrink)
    cells = (Text(status, colour), bar, Text(f"{percent(frame):>6}"), Text(left, "yellow" if is_silent else ""))
    row.add_row(*cells, Text(amounts(frame), "dim", no_wrap=True, overflow="ellipsis"))
    return row


def bar_text(percent: float, width: int, colour: str, *, usual: float | None = None, ascii_only: bool = False) -> Text:
    """Return the bar.

    Args:
        percent: How far the job is, 0 to 100; only 100 fills the bar.
        width: In characters.
        colour: What the done part is drawn in.
        usual: The percentage at which a usual run would be by now; None if that is unknown.
        ascii_only: Whether the terminal shows nothing but ASCII.

    """
    done_shape, rest_shape, mark_shape = ASCII if ascii_only else SHAPES
    done = int(width * percent / 100)
    bar = Text.assemble((done_shape * done, colour), (rest_shape * (width - done), "dim"), no_wrap=True)
    if usual is None:
        return bar
    place = min(width - 1, int(width * usual / 100))
    return bar[:place] + Text(mark_shape, "bold") + bar[place + 1 :]

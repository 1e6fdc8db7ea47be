"""What the terminal says of a frame, in words that control no terminal."""

import math
from datetime import UTC, datetime, timedelta

from rich.filesize import decimal

from .connection import ConnectionState, Frame
from .silence import stalled_of
from .time_left import number
from .timing import Told

LEFT_OUT = {"log": "… earlier lines are left out", "output": "… earlier output is left out"}
CUT = "… the rest of the output is left out"
QUIET_SECONDS = 10.0  # without a report, after which the time since the last one is shown


def plain(text: object) -> str:
    """Return a text on one line, with a space for each control character."""
    return "".join(char if char.isprintable() else " " for char in str(text)).strip()


def plain_output(text: str) -> str:
    """Return output with its lines and tabs, with a space for each other control character."""
    return "".join(char if char.isprintable() or char in "\n\t" else " " for char in text)


def left_out(frame: Frame) -> list[str]:
    """Return in words what a frame says is missing: before it of a ``backscroll``, behind it of ``output``."""
    cut = frame.get("cut")
    return [CUT] if cut is True else [LEFT_OUT[kind] for kind in cut or () if kind in LEFT_OUT]


def status_words(frame: Frame) -> str:
    """Return the status in words, with the number of the attempt after the first."""
    facts = frame["metadata"]
    attempt = facts.get("attempt", 1)
    words: str = "stalled" if stalled_of(frame) else frame["status"].replace("_", " ")
    if words == "in progress" and facts.get("cancel_requested"):
        words = "cancelling — the worker has not answered" if facts.get("cancel_unanswered") else "cancelling"
    return words if attempt == 1 else f"{words} (attempt {attempt})"


def percent(frame: Frame) -> str:
    """Return whole percents, rounded down, so that only a finished job shows 100 %; empty while unknown."""
    return "" if frame["progress"] is None else f"{math.floor(frame['progress'])} %"


def amounts(frame: Frame) -> str:
    """Return what is known of the amount done, the total and the speed."""
    facts = frame["metadata"]
    unit = plain(facts.get("unit", ""))
    current, total, rate = (_amount(facts.get(key)) for key in ("current", "total", "rate"))
    parts = []
    if current is not None:
        done = _count(current, unit if total is None or unit == "bytes" else "")
        parts.append(done if total is None else f"{done} of {_count(total, unit)}")
    if frame["status"] == "in_progress" and rate and not stalled_of(frame):
        parts.append(f"{_count(rate, unit)}/s")
    return " · ".join(parts)


def left_in_words(told: Told) -> str:
    """Return the time left, or what is said in its place."""
    seconds = told.seconds_left
    if seconds is not None and 0 <= seconds < timedelta.max.total_seconds():
        return f"{timedelta(seconds=round(seconds))} left"
    return told.silence or told.left


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


def _amount(value: object) -> float | None:
    known = number(value)
    return known if known is not None and known >= 0 else None


def _count(number: float, unit: str) -> str:
    if unit == "bytes":
        return decimal(round(number))
    return f"{number:,.0f} {unit}".strip() if number >= 10 or number == int(number) else f"{number:.1f} {unit}".strip()

"""What is said of a running job that does not report. As silence.js."""

from datetime import datetime
from typing import Any

from .connection import Frame
from .server_clock import moment, seconds_since
from .time_left import duration_words, number

HAPPENS = {
    "requeue": "the job is queued again",
    "fail": "the job counts as failed",
    "cancel": "the job counts as cancelled",
}


def stalled_of(frame: Frame) -> dict[str, Any] | None:
    """Return what the server says of a job whose worker gives no sign of life, or None."""
    stalled = frame["metadata"].get("stalled")
    return stalled if frame["status"] == "in_progress" and isinstance(stalled, dict) else None


def silence_of(frame: Frame, now: datetime | None) -> float | None:
    """Return for how many seconds a job has said nothing.

    Args:
        frame: Its state; ``heard_at`` is when a log line or output came after it.
        now: The server's time.

    Returns:
        None if it reports as it should, or if nobody knows.

    """
    if stalled := stalled_of(frame):
        return seconds_since(stalled.get("since"), now)
    most = number(frame.get("max_silence"))
    silent = seconds_since(frame.get("heard_at", frame["timestamp"]), now)
    if frame["status"] != "in_progress" or not most or most < 0 or silent is None:
        return None
    return silent if silent >= most else None


def silence_words(seconds: float) -> str:
    """Return the silence in words: «no report for 34 s»."""
    return f"no report for {duration_words(max(1, int(seconds)))}"


def then_words(stalled: dict[str, Any], now: datetime | None = None) -> str:
    """Return what will happen to a stalled job, and when: «… is queued again at 12:05:22 as attempt 3 of 3»."""
    then = stalled.get("then")
    if then == "leave":
        return "If the worker stays silent, nothing is done by itself."
    if not isinstance(then, str) or then not in HAPPENS:
        return ""
    at, attempt, of = moment(stalled.get("at")), number(stalled.get("attempt")), number(stalled.get("of"))
    when = f" at {moment_words(at, now)}" if at else ""
    which = f" as attempt {attempt:g}" + (f" of {of:g}" if of else "") if then == "requeue" and attempt else ""
    return f"If the worker stays silent, {HAPPENS[then]}{when}{which}."


def moment_words(at: datetime, now: datetime | None = None) -> str:
    """Return the local time alone for a moment of today, else the date and the time."""
    local, today = at.astimezone(), (now or datetime.now().astimezone()).astimezone()
    if local.date() == today.date():
        return f"{local:%H:%M:%S}"
    return f"{local.day} {local:%b %Y, %H:%M}"

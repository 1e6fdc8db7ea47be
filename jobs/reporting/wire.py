"""What the processes of one run say to each other: lines of JSON, each of a name and what belongs to it.

The first line of who reports is the token of the run, with the memory of its `Page`. What follows is what it has noted;
what it is told is why it is to stop.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ..exceptions import InvalidTransition, JobCancelled, JobError, JobNotFound, StaleAttempt
from .entries import Entry

MAX_LINE = 128 * 1024  # bytes
OUTPUT_PART = 16 * 1024  # characters of output in a line: as JSON at most 6 bytes each
REASONS: dict[str, type[JobError]] = {
    error.__name__: error for error in (InvalidTransition, JobCancelled, JobError, JobNotFound, StaleAttempt)
}


class Lines:
    """Makes lines of what comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def of(self, data: bytes) -> list[bytes]:
        """Return the lines that end with a piece.

        Raises:
            ValueError: One is too long.

        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(map(len, (*lines, self._rest))) > MAX_LINE:
            raise ValueError(f"A line has more than {MAX_LINE:,} bytes")
        return lines


def line(name: str, what: object) -> bytes:
    """Return a line."""
    return json.dumps([name, what], ensure_ascii=False).encode() + b"\n"


def said(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield the lines of what was taken from the notes of a process. Its counts are in its `Page`."""
    for name, arguments in entries:
        if name == "output":
            text = arguments["text"]
            for begin in range(0, len(text), OUTPUT_PART):
                yield line(name, {**arguments, "text": text[begin : begin + OUTPUT_PART]})
        elif name == "log":
            yield line(name, arguments)
        elif news := {key: arguments[key] for key in ("message", "total") if arguments.get(key) is not None}:
            yield line("say", news)


def reason_of(error: Exception) -> bytes:
    """Return a line that says why to stop."""
    name = type(error).__name__
    return line(name, list(error.args)) if name in REASONS else line("JobError", [str(error)])


def error_of(words: bytes) -> JobError:
    """Return what such a line says."""
    name, arguments = json.loads(words)
    return REASONS[name](*arguments)


def parsed(words: bytes) -> tuple[str, dict[str, Any]]:
    """Return what a line says that comes from another process.

    Raises:
        ValueError: It is not like one that `said` yields.

    """
    match json.loads(words):
        case [str(name), dict(arguments)]:
            return name, arguments
    raise ValueError("A line is no report")

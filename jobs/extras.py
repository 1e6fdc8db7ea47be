"""What a job says beside its state: log lines and output, which leave the state as it was."""

from functools import cache
from typing import Any

from . import validation
from .changes import Change
from .models import ProcessingJob
from .number_settings import number_setting
from .states import EventKind

OUTPUT_BYTES = 16 * 1024 * 1024  # of a job, unless ``JOBS_OUTPUT_BYTES`` says otherwise: a book, or a long build

output_bytes = number_setting("JOBS_OUTPUT_BYTES", OUTPUT_BYTES, 1_024, 1_073_741_824, "jobs.E009")


def checked_line(text: str, level: str) -> dict[str, Any]:
    """Return what a log line takes, as arguments of `log_line`.

    Raises:
        InvalidValue: The text is out of its bounds, or there is no such level.

    """
    return {"text": validation.text(text, "log line", validation.MAX_LOG_LINE), "level": validation.log_level(level)}


def checked_output(text: str, name: str) -> dict[str, Any]:
    """Return the arguments of `output`, checked.

    Raises:
        InvalidValue: One is out of its bounds.

    """
    return {"text": validation.text(text, "output", validation.MAX_OUTPUT), "name": validation.stream_name(name)}


def log_line(_: ProcessingJob, text: str, level: str) -> Change:
    """Say something; nothing else changes."""
    return Change(EventKind.LOG, text=text, about=_of_level(level))


@cache
def _of_level(level: str) -> dict[str, Any]:
    return {"level": level}


def output(job: ProcessingJob, text: str, name: str) -> Change | None:
    """Say something at length; nothing is shown otherwise. Past what is kept of a job, once that it is cut, then None.

    The beginning is kept: an answer, or what a command did first. How it ended, its status and its error say.
    """
    before, size, most = job.output_bytes, len(text.encode()), output_bytes()
    if not text or before > most:
        return None
    about: dict[str, Any] = {"name": name, "offset": before}
    if before + size > most:
        text = text.encode()[: most - before].decode(errors="ignore")
        about["cut"] = True
    return Change(EventKind.OUTPUT, {"output_bytes": before + size}, text=text, about=about)

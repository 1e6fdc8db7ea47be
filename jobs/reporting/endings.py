"""What a run ends with: a method of the lifecycle, and its arguments."""

import asyncio
from typing import Any

from django.db import Error

from .. import changes, validation
from ..exceptions import InvalidValue, JobCancelled
from ..lifecycle import ProcessingJobLifecycle
from .entries import Entry
from .notes import Notes

LEFT = "left"  # the end of a run that was stopped from outside, which may be why


def is_good(error: BaseException | None) -> bool:
    """Return whether the work is done, by what its block was left with."""
    return error is None or (isinstance(error, SystemExit) and not error.code)


def good_end(notes: Notes, summary: str, result: Any) -> Entry:
    """Return a good end. It is one even if a cancellation was asked for meanwhile: all is done."""
    message = validation.fitting_text(summary, validation.MAX_MESSAGE)
    return "mark_completed", {"message": message, "result": _storable(notes, result)}


def bad_end(job_id: str, notes: Notes, error: BaseException, unit: str, handled: int) -> Entry:
    """Return a bad end. It asks the database nothing: a generator's may be wanted within a query.

    Args:
        job_id: Of the run.
        notes: What it has counted.
        error: What its block was left with.
        unit: What is counted.
        handled: The `id` of the exception that was being handled when it began.

    """
    if isinstance(error, JobCancelled) and error.job_id == job_id:
        return "mark_cancelled", {}
    if isinstance(error, GeneratorExit):
        return LEFT, {"error": changes.error_text(_why_left(error, notes, unit, handled))}
    if isinstance(error, asyncio.CancelledError):
        return LEFT, {
            "error": changes.error_text(error if error.args else "CancelledError: The asyncio task was cancelled")
        }
    return "mark_failed", {"error": changes.error_text(error)}


def end_of_left(lifecycle: ProcessingJobLifecycle, error: str) -> Entry:
    """Return the end of a run that was `LEFT`: cancelled, if somebody has asked for that by now, else failed."""
    return ("mark_cancelled", {}) if _is_to_be_cancelled(lifecycle) else ("mark_failed", {"error": error})


def _why_left(left: GeneratorExit, notes: Notes, unit: str, handled: int) -> BaseException | str:
    """Return the exception by which a generator was left, as far as that can be told, or words.

    An exception on its way out of a loop closes the loop's generator before anybody handles it.
    """
    if left.__context__ is not None and id(left.__context__) != handled:
        return left.__context__
    done = f"{notes.current:g}" if notes.total is None else f"{notes.current:g} of {notes.total:g}"
    return f"The loop was left after {done} {unit}".rstrip() + ", by an exception, return or break"


def _is_to_be_cancelled(lifecycle: ProcessingJobLifecycle) -> bool:
    """Return whether somebody has asked for that by now."""
    try:
        return isinstance(lifecycle.asked_to_stop(), JobCancelled)
    except Error:
        return lifecycle.cancel_requested


def _storable(notes: Notes, result: Any) -> Any:
    """Return a result, or why it can't be stored."""
    try:
        return validation.json_value(result, "result")
    except InvalidValue as error:
        notes.warn_once(error)
        return f"(not stored: {error})"

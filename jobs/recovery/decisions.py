"""What is done with a job whose worker is lost, decided without touching the database."""

from datetime import datetime, timedelta
from typing import Any

from .. import changes
from ..changes import STALLED, WORKER_LOST, Change
from ..events import in_words
from ..models import ProcessingJob
from ..states import Status
from .kinds import FAIL, LEAVE, REQUEUE, options_of

CANCEL = "cancel"  # what is done where somebody has asked for it, whatever the kind's options say but to leave it


def is_due(metadata: Any, now: datetime) -> bool:
    """Return whether something is to be done, by a job's metadata; also where these make no sense."""
    mark = metadata.get(STALLED) if isinstance(metadata, dict) else None
    return not isinstance(mark, dict) or (mark.get("then") != LEAVE and _at(mark) <= now)


def is_left(metadata: Any) -> bool:
    """Return whether the job is marked as stalled, and left as it is."""
    mark = metadata.get(STALLED) if isinstance(metadata, dict) else None
    return isinstance(mark, dict) and mark.get("then") == LEAVE


def decided(job: ProcessingJob, since: datetime, now: datetime, grace: float) -> Change | None:
    """Mark the job as stalled; or, once the time has come that this has named, do what was said.

    Args:
        job: In progress, of a worker that is lost.
        since: The worker's last sign of life.
        now: When it was found lost again.
        grace: The seconds that it has to come back, once the job is marked.

    """
    if STALLED not in job.metadata:
        return _marked(job, min(since, now), now + timedelta(seconds=grace))
    return recovered(job, now) if is_due(job.metadata, now) else None


def back(job: ProcessingJob) -> Change | None:
    """Show the job as stalled no more: its worker lives."""
    return changes.noted(job, **{STALLED: None}) if STALLED in job.metadata else None


def recovered(job: ProcessingJob, now: datetime) -> Change:
    """Do what the mark says, or cancel the job if that was asked for."""
    mark = job.metadata[STALLED]
    silence = changes.duration((now - datetime.fromisoformat(mark["since"])).total_seconds())
    if job.cancel_requested_at is not None:
        return _lost(changes.cancelled(job, f"Cancelled; its worker was lost {silence} ago", None))
    if mark["then"] == REQUEUE:
        change = changes.queued(job, f"Its worker was lost; attempt {mark['attempt']} of {mark['of']} waits", None)
        del change.fields["worker_id"]  # stays until somebody was told who can run it
        return change
    of = f", in attempt {mark['attempt']} of {mark['of']}" if "of" in mark else ""
    return _lost(changes.failed(job, "", f"Its worker was lost: no sign of life for {silence}{of}", None))


def _marked(job: ProcessingJob, since: datetime, at: datetime) -> Change:
    options = options_of(job.kind)
    mark: dict[str, Any] = {"since": in_words(max(since, job.started_at or since)), "then": options.recovery}
    if options.recovery == REQUEUE:
        is_last = job.attempt >= options.attempts
        of = max(job.attempt, options.attempts)  # more, where somebody has retried it
        mark |= {"then": FAIL if is_last else REQUEUE, "attempt": job.attempt + (not is_last), "of": of}
    if options.recovery != LEAVE:
        mark["at"] = in_words(at)
        if job.cancel_requested_at is not None:
            mark = {"since": mark["since"], "then": CANCEL, "at": mark["at"]}
    return changes.noted(job, **{STALLED: mark})


def _lost(change: Change) -> Change:
    """Have whatever the worker would still write be refused, should it come back."""
    assert change.fields["status"] in (Status.FAILED, Status.CANCELLED)
    change.fields["metadata"][WORKER_LOST] = True
    return change


def _at(mark: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(mark["at"])

"""What each change does to a job, decided without touching the database."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from . import validation
from .exceptions import InvalidTransition
from .models import ProcessingJob
from .progress_report import Report, measured, percentage
from .rate import MIN_SECONDS, Rate, eta_seconds
from .retention.curve import MAX_POINTS
from .states import TERMINAL, EventKind, Status, require_transition
from .time_left import learned
from .time_left.course import Course
from .time_left.learned import End, Start
from .time_left.record import Run

NOW = object()  # in a change's fields: the time at which it is written
SEQ = object()  # in a change's fields: the position at which it is written
CHILD_JOBS = "child_jobs"  # in the metadata of a job that has children: how many of them count
STALLED = "stalled"  # in the metadata of a job whose worker is lost: since when, and what will be done
WORKER_LOST = "worker_lost"  # in that of one that was ended for it: what the worker would still write is refused
# True only while the job runs.
OF_THE_MOMENT = frozenset({"rate", "eta_seconds", "time_left", "cancel_unanswered", STALLED})
DURATIONS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))  # with their seconds
OF_THE_ATTEMPT = validation.RESERVED | {"stage"}


@dataclass(frozen=True, slots=True)
class Change:
    """A decided change: new values of the job's fields, or a log line or output, and what is said about that."""

    kind: EventKind
    fields: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    about: dict[str, Any] = field(default_factory=dict)
    rate: Rate | None = None  # with what a progress report counted
    course: Course | None = None  # likewise
    run: Run | None = None  # what is kept of a run that has succeeded, for later ones of its kind

    def fields_at(self, now: datetime, seq: int) -> dict[str, Any]:
        """Return the new values, with the time and the position filled in."""
        return {name: now if value is NOW else seq if value is SEQ else value for name, value in self.fields.items()}


def checked(message: str, metadata: dict[str, Any] | None) -> dict[str, Any]:
    """Return what every change of status takes, as arguments of the functions below: checked copies.

    Raises:
        InvalidValue: The message or the metadata is out of its bounds.

    """
    added = {} if metadata is None else validation.metadata(metadata)
    return {"message": validation.text(message, "message", validation.MAX_MESSAGE), "metadata": added}


def about(kind: str | None, plan: Any, size: float | None) -> dict[str, Any]:
    """Return what is told of the kind of work, the stages and the amount, as the job's fields: None is not told.

    Raises:
        InvalidValue: One is out of its bounds.

    """
    told: dict[str, Any] = {}
    if kind is not None:
        told["kind"] = validation.text(kind, "kind", validation.MAX_KIND)
    if plan is not None:
        told["plan"] = validation.plan(plan)
    if size is not None:
        told["size"] = float(validation.number(size, "size"))
    return told


def error_text(error: str | BaseException) -> str:
    """Return an error in words, cut to what is stored."""
    words = validation.in_words(error)
    if isinstance(error, BaseException):
        words = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return validation.fitting_text(words, validation.MAX_ERROR)


def queued(job: ProcessingJob, message: str, metadata: dict[str, Any] | None) -> Change:
    """Wait for a worker; from a run that is given up, as a new attempt."""
    if job.status in TERMINAL:
        raise InvalidTransition(job.pk, job.status, Status.QUEUED)
    require_transition(job.pk, job.status, Status.QUEUED)
    if job.status == Status.IN_PROGRESS:
        return _new_attempt(job, message, metadata)
    return _to(job, Status.QUEUED, message, metadata, queued_at=NOW)


def retried(job: ProcessingJob, message: str, metadata: dict[str, Any] | None) -> Change:
    """Wait for a worker again, after the end."""
    if job.status not in TERMINAL:
        raise InvalidTransition(job.pk, job.status, Status.QUEUED)
    require_transition(job.pk, job.status, Status.QUEUED)
    return _new_attempt(job, message, metadata)


def started(
    job: ProcessingJob,
    message: str,
    metadata: dict[str, Any] | None,
    about: dict[str, Any] | None = None,
    start: Start | None = None,
    worker: str | None = None,
) -> Change:
    """Begin to run; perhaps with another kind, plan or size (``about``), as the earlier runs of the kind did.

    The run holds the lease of a ``worker``, if there is one.
    """
    require_transition(job.pk, job.status, Status.IN_PROGRESS)
    fields, shown = about or {}, dict[str, Any]()
    if start is not None and start.history is not None and CHILD_JOBS not in job.metadata:
        size, plan = fields.get("size", job.size), fields.get("plan", job.plan)
        usual, shown = learned.at_start(start.history, {**job.metadata, **(metadata or {})}, size, plan)
        fields = {**fields, "usual": usual}
    return _to(job, Status.IN_PROGRESS, message, metadata, shown=shown, started_at=NOW, worker_id=worker, **fields)


def completed(
    job: ProcessingJob, message: str, result: Any, metadata: dict[str, Any] | None, end: End | None = None
) -> Change:
    """End well."""
    require_transition(job.pk, job.status, Status.COMPLETED)
    shown = {} if result is None else {"result": result}
    total = job.metadata.get("total")
    if total is not None and "current" in job.metadata:
        shown["current"] = total  # all of it is done, whether or not every step was reported
    fields = {"progress": 100.0, "result": result, "finished_at": NOW}
    run = None if end is None or CHILD_JOBS in job.metadata else end.run(job)
    return replace(_to(job, Status.COMPLETED, message, metadata, shown=shown, **fields), run=run)


def failed(job: ProcessingJob, message: str, error: str, metadata: dict[str, Any] | None) -> Change:
    """End badly."""
    require_transition(job.pk, job.status, Status.FAILED)
    shown = {"error": error[: validation.MAX_MESSAGE]} if error else {}
    first_line = error.strip().partition("\n")[0][: validation.MAX_MESSAGE]
    return _to(job, Status.FAILED, message or first_line, metadata, shown=shown, error=error, finished_at=NOW)


def cancelled(job: ProcessingJob, message: str, metadata: dict[str, Any] | None) -> Change:
    """End on request."""
    require_transition(job.pk, job.status, Status.CANCELLED)
    return _to(job, Status.CANCELLED, message, metadata, finished_at=NOW)


def cancel_requested(job: ProcessingJob, message: str, metadata: dict[str, Any] | None) -> Change | None:
    """End on request if nobody works on it yet; else leave the request to the worker."""
    require_transition(job.pk, job.status, Status.CANCELLED)
    if job.status != Status.IN_PROGRESS:
        return cancelled(job, message, metadata)
    if job.cancel_requested_at:
        return None
    fields = {
        "message": message or "Cancellation requested",
        "metadata": _merged(job, metadata, shown={"cancel_requested": True, **learned.kept(job)}),
        "cancel_requested_at": NOW,
        "status_changed_at": NOW,
        "updated_at": NOW,
    }
    return Change(EventKind.STATUS, fields)


def cancel_unanswered(job: ProcessingJob, now: datetime, seconds: float) -> Change | None:
    """Say that the worker has not answered a request to cancel for so many seconds, unless that was said before.

    The job stays in progress: nobody knows whether it is still worked on.
    """
    if job.status != Status.IN_PROGRESS or job.cancel_requested_at is None or job.cancel_unanswered_at is not None:
        return None
    waited = (now - job.cancel_requested_at).total_seconds()
    if waited < seconds:  # for the one that was found, a new attempt was made and asked to end as well
        return None
    fields = {
        "message": f"Cancellation requested {duration(waited)} ago; the worker has not answered",
        "metadata": _merged(job, None, shown={"cancel_unanswered": True, **learned.kept(job)}),
        "cancel_unanswered_at": NOW,
        "status_changed_at": NOW,
        "updated_at": NOW,
    }
    return Change(EventKind.STATUS, fields)


def noted(job: ProcessingJob, **shown: Any) -> Change:
    """Show something in the metadata, or what is None no more, as a change that everybody is told of."""
    metadata = _merged(job, None, shown=learned.kept(job) | shown)
    fields = {"metadata": metadata, "status_changed_at": NOW, "updated_at": NOW}
    return Change(EventKind.STATUS, fields)


def duration(seconds: float) -> str:
    """Return a duration in words, in whole numbers of its largest unit."""
    unit, size = next((each for each in DURATIONS if seconds >= each[1]), DURATIONS[-1])
    number = int(seconds // size)
    return f"{number:,} {unit}" if number == 1 else f"{number:,} {unit}s"


def edited(job: ProcessingJob, **wanted: Any) -> Change | None:
    """Have another name, owner (``owner_id``), visibility or ``keep``; None where it is so already.

    For lists, that is a change like one of status: they ask again who may see the job.
    """
    fields = {name: value for name, value in wanted.items() if getattr(job, name) != value}
    if not fields:
        return None
    if kept := learned.kept(job):
        fields["metadata"] = {**job.metadata, **kept}
    return Change(EventKind.EDIT, {**fields, "status_changed_at": NOW, "updated_at": NOW})


def progressed(job: ProcessingJob, report: Report) -> Change:
    """Record how far it is."""
    if job.status != Status.IN_PROGRESS:
        raise InvalidTransition(job.pk, job.status, Status.IN_PROGRESS)
    shown, progress, rate = measured(job, report)
    is_back = STALLED in job.metadata
    if is_back:
        shown[STALLED] = None  # its worker is there
    if CHILD_JOBS in job.metadata:  # its children say how far it is
        progress, course = job.progress, learned.lost(report.course)
        shown.pop("eta_seconds", None)
    else:
        course = learned.followed(report.course, job, report, progress)
    course = learned.tell(course, job, report, shown)
    fields: dict[str, Any] = {"updated_at": NOW}
    if progress != job.progress:
        fields["progress"] = progress
    if report.message is not None and report.message != job.message:
        fields["message"] = report.message
    moved_on = report.stage is not None and report.stage != job.metadata.get("stage")
    kind = EventKind.STAGE if moved_on else EventKind.TICK
    if moved_on:
        shown["stage"] = report.stage
    if (usual := learned.of_total(report.course, course)) is not None:
        fields["usual"] = usual
    if is_back or usual is not None:  # of which lists are told as well; of the latter, as of a start, by the row
        fields["status_changed_at"] = NOW
        kind = EventKind.STATUS
    if shown or report.metadata:
        fields["metadata"] = _merged(job, report.metadata, shown=shown)
    if course is not None:
        course = course._replace(last=learned.shown_by(progress, fields.get("metadata", job.metadata)))
    return Change(kind, fields, rate=rate, course=course)


def rolled_up(job: ProcessingJob, number: int, percent: float, now: datetime) -> Change | None:
    """Show how many children the job has and, while it is in progress, how far they are; None where that is so already.

    The time left is what it takes if they go on as fast as since the start.
    """
    if job.status in TERMINAL:
        return None
    fields: dict[str, Any] = {}
    shown: dict[str, Any] = {} if job.metadata.get(CHILD_JOBS, 0) == number else {CHILD_JOBS: number or None}
    if number and learned.TIME_LEFT in job.metadata:  # of before it had any
        shown |= {learned.TIME_LEFT: None, learned.ETA: None}
    progress = percentage(percent, 100)
    if number and job.status == Status.IN_PROGRESS and progress != job.progress:
        fields["progress"] = progress
        seconds = 0.0 if job.started_at is None else (now - job.started_at).total_seconds()
        shown["eta_seconds"] = eta_seconds(100 - percent, percent / seconds) if seconds >= MIN_SECONDS else None
    if shown:
        fields["metadata"] = _merged(job, None, shown=shown)
    return Change(EventKind.TICK, {**fields, "updated_at": NOW}) if fields else None


def _new_attempt(job: ProcessingJob, message: str, metadata: dict[str, Any] | None) -> Change:
    attempt = job.attempt + 1
    kept = {key: value for key, value in job.metadata.items() if key not in OF_THE_ATTEMPT}
    return _to(
        job,
        Status.QUEUED,
        message,
        metadata,
        shown={"attempt": attempt},
        kept=kept,
        attempt=attempt,
        attempt_seq=SEQ,
        progress=0.0,
        error="",
        result=None,
        queued_at=NOW,
        started_at=None,
        usual=None,
        finished_at=None,
        cancel_requested_at=None,
        cancel_unanswered_at=None,
    )


def _to(
    job: ProcessingJob,
    status: Status,
    message: str,
    metadata: dict[str, Any] | None,
    *,
    shown: dict[str, Any] | None = None,
    kept: dict[str, Any] | None = None,
    **fields: Any,
) -> Change:
    """Return the change to another status."""
    if kept is None:
        kept = {key: value for key, value in job.metadata.items() if key not in OF_THE_MOMENT}
    fields = {
        "worker_id": None,  # but for a start: whoever has run it does so no more
        **fields,
        "status": status,
        "message": message,
        "metadata": _merged(job, metadata, shown=shown or {}, kept=kept),
        "status_changed_at": NOW,
        "updated_at": NOW,
        # A log of so few events is as small as what would be kept of it.
        "compact_after": NOW if status in TERMINAL and job.seq > MAX_POINTS else None,
    }
    return Change(EventKind.STATUS, fields)


def _merged(
    job: ProcessingJob,
    added: dict[str, Any] | None,
    *,
    shown: dict[str, Any],
    kept: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the job's metadata with the caller's and the lifecycle's own additions; None takes one of the latter away.

    Raises:
        InvalidValue: The caller's part would take more than 16 KiB.

    """
    merged = {**(job.metadata if kept is None else kept), **(added or {})}
    if added:
        own = {key: value for key, value in merged.items() if key not in validation.RESERVED}
        validation.json_value(own, "metadata")
    for key, value in shown.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged

"""The one writer of jobs: every change is one transaction that updates the job and logs the event.

The position ``seq`` is taken under the job row's lock, so that on every database the order of
commits is the order of ``seq``, with no gap. The usual write needs no read before it: the update
is conditional on the position that this object last committed. Where somebody else has written
since, the row is locked, read, and the change decided anew.
"""

import threading
from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import partial
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from django.db import IntegrityError, connections, router, transaction
from django.utils import timezone

from jobs import bounds, changes
from jobs.changes import Change
from jobs.events import Event
from jobs.exceptions import DuplicateJob, InvalidTransition, JobNotFound, StaleAttempt
from jobs.models import JobEvent, ProcessingJob
from jobs.rate import RateEstimator
from jobs.signals import job_event_committed
from jobs.states import EventKind
from jobs.threads import in_thread

P = ParamSpec("P")
R = TypeVar("R")
Decision = Callable[[ProcessingJob], Change | None]


def async_twin(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """Return the asynchronous form of a method: the same, run in the bounded pool of threads."""

    def twin(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        return in_thread(method, *args, **kwargs)  # type: ignore[arg-type]

    twin.__name__ = f"a{method.__name__}"
    twin.__doc__ = f"Do what `{method.__name__}` does, without blocking the event loop."
    return twin


class ProcessingJobLifecycle:
    """One attempt of one job, and all that may happen to it.

    Bound to the attempt that is current when it is made (or first used, given an id): once the job
    has been started anew elsewhere, the late reports of this attempt raise `StaleAttempt`.

    Every method raises `JobNotFound`, `StaleAttempt`, `InvalidTransition` or `InvalidValue` for the
    caller's own mistakes, and then has changed nothing. Within a transaction of the caller's, the
    change is shown once that commits, and never if it is rolled back.

    Args:
        job_or_id: A job, or the id of one.

    """

    def __init__(self, job_or_id: ProcessingJob | str) -> None:
        self.job_id = bounds.job_id(job_or_id if isinstance(job_or_id, str) else job_or_id.pk)
        self._attempt: tuple[str, int] | None = None  # epoch and number
        self._committed: ProcessingJob | None = None  # the state as this object last knew it committed
        self._latest: ProcessingJob | None = None  # the same, or a state whose transaction is still open
        self._rate = RateEstimator()
        self._lock = threading.RLock()
        if isinstance(job_or_id, ProcessingJob):
            self._bind(job_or_id)

    # Making and reading

    @classmethod
    def create(
        cls,
        job_id: str | None = None,
        *,
        name: str = "",
        owner: Any = None,
        public: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> Self:
        """Make a pending job.

        Args:
            job_id: The caller's own id, or none to have one generated.
            name: What people call it, at most 200 characters.
            owner: The user who may watch it.
            public: Whether anyone may watch it.
            metadata: JSON that every event of the job carries, at most 16 KiB.

        Raises:
            DuplicateJob: The id is taken.
            InvalidValue: An argument is out of its bounds.

        """
        now = timezone.now()
        fields = {} if job_id is None else {"id": bounds.job_id(job_id)}
        job = ProcessingJob(
            **fields,
            name=bounds.text(name, "name", bounds.MAX_NAME),
            owner=owner,
            public=bool(public),
            metadata={**bounds.metadata(metadata or {}), "attempt": 1},
            created_at=now,
            status_changed_at=now,
            updated_at=now,
            seq=1,
        )
        try:
            with transaction.atomic(using=_database()):
                job.save(force_insert=True)
                _append(job, Change(EventKind.STATUS), now)
        except IntegrityError:
            if ProcessingJob.objects.filter(pk=job.pk).exists():
                raise DuplicateJob(job.pk) from None
            raise
        return cls(job)

    @property
    def job(self) -> ProcessingJob:
        """The job as this object last read or wrote it.

        Raises:
            JobNotFound: There is none.

        """
        if self._latest is None:
            with self._lock:
                self._bind(self._read(ProcessingJob.objects.all()))
        assert self._latest is not None
        return self._latest

    @property
    def cancel_requested(self) -> bool:
        """Whether a cancellation was asked for, as far as this object knows: each report asks anew."""
        return self.job.cancel_requested_at is not None

    # Changing

    def mark_queued(self, message: str = "", *, metadata: dict[str, Any] | None = None) -> None:
        """Record that the job waits for a worker. A running job is given up and gets a new attempt."""
        changes.check(message, metadata)
        self._write(partial(changes.queued, message=message, metadata=metadata))

    def mark_started(self, message: str = "", *, metadata: dict[str, Any] | None = None) -> None:
        """Record that a worker has begun."""
        changes.check(message, metadata)
        self._write(partial(changes.started, message=message, metadata=metadata))
        self._rate.reset(0, timezone.now().timestamp())

    def mark_progress(
        self,
        progress: float | None = None,
        *,
        current: float | None = None,
        total: float | None = None,
        message: str = "",
        stage: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Record how far the job is. What is not given stays as it was.

        Args:
            progress: Percent, 0–100.
            current: How many units are done; with a total it gives the percentage, without one the
                progress is indeterminate.
            total: How many units there are.
            message: What is going on, at most 2,000 characters.
            stage: The part of the job that is under way.
            metadata: JSON to add to the job's, at most 16 KiB together.

        """
        report = changes.Report.checked(progress, current, total, message, stage, metadata)
        self._write(lambda job: changes.progressed(job, report, self._rate))

    def mark_completed(self, message: str = "", *, result: Any = None, metadata: dict[str, Any] | None = None) -> None:
        """Record that the job has succeeded, with a result of at most 16 KiB of JSON."""
        changes.check(message, metadata)
        checked = bounds.json_value(result, "result")
        self._write(partial(changes.completed, message=message, result=checked, metadata=metadata))

    def mark_failed(
        self, message: str = "", *, error: str | BaseException = "", metadata: dict[str, Any] | None = None
    ) -> None:
        """Record that the job has failed; without a message, the error's first line is shown."""
        changes.check(message, metadata)
        reason = changes.error_text(error)
        self._write(partial(changes.failed, message=message, error=reason, metadata=metadata))

    def mark_cancelled(self, message: str = "", *, metadata: dict[str, Any] | None = None) -> None:
        """Record that the job was given up on request."""
        changes.check(message, metadata)
        self._write(partial(changes.cancelled, message=message, metadata=metadata))

    def request_cancel(self, message: str = "", *, metadata: dict[str, Any] | None = None) -> None:
        """Ask for the job to be cancelled: at once if it waits, else by its worker. Asking twice is asking once."""
        changes.check(message, metadata)
        self._write(partial(changes.cancel_requested, message=message, metadata=metadata))

    def retry(self, message: str = "", *, metadata: dict[str, Any] | None = None) -> None:
        """Queue a failed or cancelled job again, as a new attempt, to which this object is then bound."""
        changes.check(message, metadata)
        self._write(partial(changes.retried, message=message, metadata=metadata))

    def log(self, text: str, *, level: str = "info") -> None:
        """Add a line of at most 2,000 characters to the job's log, at a level that ``logging`` names."""
        bounds.text(text, "log line", bounds.MAX_MESSAGE)
        line = Change(EventKind.LOG, text=text, level=changes.log_level(level))
        self._write(lambda _: line)

    acreate = classmethod(async_twin(create.__func__))  # type: ignore[attr-defined]
    amark_queued = async_twin(mark_queued)
    amark_started = async_twin(mark_started)
    amark_progress = async_twin(mark_progress)
    amark_completed = async_twin(mark_completed)
    amark_failed = async_twin(mark_failed)
    amark_cancelled = async_twin(mark_cancelled)
    arequest_cancel = async_twin(request_cancel)
    aretry = async_twin(retry)
    alog = async_twin(log)

    # The write

    def _write(self, decide: Decision) -> None:
        """Decide on a change, apply it and log it, all in one transaction."""
        with self._lock:
            using = _database()
            within = connections[using].in_atomic_block  # then only the caller's commit makes it true
            with transaction.atomic(using=using):
                written = None if within else self._write_at_known_position(decide)
                if written is None:
                    written = self._write_under_lock(decide)
            self._bind(written, committed=not within)

    def _write_at_known_position(self, decide: Decision) -> ProcessingJob | None:
        """Write if nobody else has since; else return None, having changed nothing."""
        known = self._committed
        if known is None:
            return None
        try:
            change = decide(known)
        except InvalidTransition:
            return None  # by what was known; the row itself has the last word
        if change is None:
            return None
        return _apply(known, change, expected=known.seq)

    def _write_under_lock(self, decide: Decision) -> ProcessingJob:
        job = self._read(ProcessingJob.objects.select_for_update())
        if self._attempt not in (None, (job.epoch, job.attempt)):
            raise StaleAttempt(self.job_id, self._attempt[1] if self._attempt else 0, job.attempt)
        change = decide(job)
        if change is None:
            return job
        written = _apply(job, change, expected=job.seq)
        assert written is not None, "the row is locked"
        return written

    def _read(self, jobs: Any) -> ProcessingJob:
        try:
            job: ProcessingJob = jobs.get(pk=self.job_id)
        except ProcessingJob.DoesNotExist:
            raise JobNotFound(self.job_id) from None
        return job

    def _bind(self, job: ProcessingJob, *, committed: bool = True) -> None:
        self._latest = job
        self._committed = job if committed else None
        self._attempt = job.epoch, job.attempt


def _database() -> str:
    return router.db_for_write(ProcessingJob)


def _apply(job: ProcessingJob, change: Change, *, expected: int) -> ProcessingJob | None:
    """Write a change at the position after ``expected``; return the job after it, or None if the position moved."""
    now = timezone.now()
    fields = {**change.fields_at(now), "seq": expected + 1}
    at_position = ProcessingJob.objects.filter(pk=job.pk, epoch=job.epoch, seq=expected)
    if not at_position.update(**fields):
        return None
    after = _copy(job, fields)
    _append(after, change, now)
    return after


def _copy(job: ProcessingJob, fields: dict[str, Any]) -> ProcessingJob:
    """Return the job with other values: the known state stays as it is until the change has committed."""
    after = ProcessingJob.__new__(ProcessingJob)
    after.__dict__.update(job.__dict__)
    after.__dict__.update(fields)
    return after


def _append(job: ProcessingJob, change: Change, now: datetime) -> None:
    """Log the change that brought the job where it is, and tell of it once the transaction commits."""
    row = JobEvent(
        job_id=job.pk,
        seq=job.seq,
        kind=change.kind,
        status=job.status,
        progress=job.progress,
        message=job.message if change.kind is not EventKind.LOG else change.text,
        metadata=job.metadata if change.kind is not EventKind.LOG else {"level": change.level},
        timestamp=now,
    )
    row.save(force_insert=True)
    event = row.as_event(job.epoch)
    transaction.on_commit(partial(_tell, event), using=_database(), robust=True)


def _tell(event: Event) -> None:
    job_event_committed.send_robust(sender=ProcessingJob, event=event)

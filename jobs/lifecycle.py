"""The one writer of jobs: every change is one transaction that updates the job and logs the event.

The position ``seq`` is taken under the job row's lock, so that on every database the order of
commits is the order of ``seq``, with no gap. The usual write needs no read before it: the update
is conditional on the position that this object last committed. Where somebody else has written
since, the row is locked, read, and the change decided anew.
"""

import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from jobs import bounds, changes
from jobs.changes import Change
from jobs.exceptions import DuplicateJob, InvalidTransition, InvalidValue, JobNotFound, StaleAttempt
from jobs.ids import birth, renewed
from jobs.models import ProcessingJob
from jobs.rate import RateEstimator
from jobs.states import EventKind
from jobs.threads import in_thread
from jobs.writes import append, apply, apply_at_once, can_apply_at_once, connection_to_write, tell

P = ParamSpec("P")
R = TypeVar("R")
Decision = Callable[[ProcessingJob], Change | None]


def async_twin(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """Return the asynchronous form of a method: the same, run in the bounded pool of threads."""

    def twin(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        return in_thread(method, *args, **kwargs)

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
        self._attempt: tuple[str, int] | None = None  # birth and number
        self._open_attempt: tuple[str, int] | None = None  # the same, of a transaction that is still open
        self._committed: ProcessingJob | None = None  # the state as this object last knew it committed
        self._latest: ProcessingJob | None = None  # the same, or a state whose transaction is still open
        self._rate = RateEstimator()
        self._lock = threading.RLock()
        if isinstance(job_or_id, ProcessingJob):
            # For show and for the attempt. What is written is decided on what the row says: this may
            # be changed by hand, or come from a transaction that was rolled back.
            self._latest = job_or_id
            self._attempt = _attempt_of(job_or_id)

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
            connection = connection_to_write()
            with transaction.atomic(using=connection.alias):
                job.save(force_insert=True)
                append(connection, job, Change(EventKind.STATUS), now)
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
                take = self._hold if connection_to_write().in_atomic_block else self._settle
                take(self._read(ProcessingJob.objects.all()))
        assert self._latest is not None
        return self._latest

    @property
    def cancel_requested(self) -> bool:
        """Whether a cancellation was asked for, as far as this object knows: each report asks anew."""
        return self.job.cancel_requested_at is not None

    # Changing

    def mark_queued(self, message: str = "", *, metadata: dict[str, Any] | None = None) -> None:
        """Record that the job waits for a worker. A running job is given up and gets a new attempt."""
        added = changes.checked(message, metadata)
        self._write(partial(changes.queued, message=message, metadata=added))

    def mark_started(self, message: str = "", *, metadata: dict[str, Any] | None = None) -> None:
        """Record that a worker has begun."""
        added = changes.checked(message, metadata)
        self._write(partial(changes.started, message=message, metadata=added))
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
        added = changes.checked(message, metadata)
        stored = bounds.json_value(result, "result")
        self._write(partial(changes.completed, message=message, result=stored, metadata=added))

    def mark_failed(
        self, message: str = "", *, error: str | BaseException = "", metadata: dict[str, Any] | None = None
    ) -> None:
        """Record that the job has failed; without a message, the error's first line is shown."""
        added = changes.checked(message, metadata)
        reason = changes.error_text(error)
        self._write(partial(changes.failed, message=message, error=reason, metadata=added))

    def mark_cancelled(self, message: str = "", *, metadata: dict[str, Any] | None = None) -> None:
        """Record that the job was given up on request."""
        added = changes.checked(message, metadata)
        self._write(partial(changes.cancelled, message=message, metadata=added))

    def request_cancel(self, message: str = "", *, metadata: dict[str, Any] | None = None) -> None:
        """Ask for the job to be cancelled: at once if it waits, else by its worker, which need be asked only once."""
        added = changes.checked(message, metadata)
        self._write(partial(changes.cancel_requested, message=message, metadata=added))

    def retry(self, message: str = "", *, metadata: dict[str, Any] | None = None) -> None:
        """Queue a failed or cancelled job again, as a new attempt, to which this object is then bound."""
        added = changes.checked(message, metadata)
        self._write(partial(changes.retried, message=message, metadata=added))

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
            connection = connection_to_write()
            within = connection.in_atomic_block  # then only the caller's commit makes it true
            if not within and can_apply_at_once(connection) and self._write_at_once(connection, decide):
                return
            written: ProcessingJob | None = None

            def settle() -> None:
                if written is not None:
                    self._settle(written)

            with transaction.atomic(using=connection.alias):
                # Before the event is told, so that a receiver that uses this object finds it up to date.
                connection.on_commit(settle)
                written = None if within else self._write_at_known_position(connection, decide)
                if written is None:
                    written = self._write_under_lock(connection, decide, within=within)
                if within:
                    self._hold(written)

    def _write_at_once(self, connection: BaseDatabaseWrapper, decide: Decision) -> bool:
        """Write in one statement if nobody else has written since; else return False, having changed nothing."""
        known, change = self._committed, self._decide_on_known(decide)
        if known is None or change is None:
            return False
        done = apply_at_once(connection, known, change, expected=known.seq)
        if done is None:
            return False
        written, event = done
        self._settle(written)
        tell(event)
        return True

    def _write_at_known_position(self, connection: BaseDatabaseWrapper, decide: Decision) -> ProcessingJob | None:
        """Write if nobody else has since; else return None, having changed nothing."""
        known, change = self._committed, self._decide_on_known(decide)
        return apply(connection, known, change, expected=known.seq) if known and change else None

    def _decide_on_known(self, decide: Decision) -> Change | None:
        """Decide on the state that is known; None where it takes the row itself, which has the last word."""
        if self._committed is None:
            return None
        try:
            return decide(self._committed)
        except (InvalidTransition, InvalidValue):
            return None

    def _write_under_lock(self, connection: BaseDatabaseWrapper, decide: Decision, *, within: bool) -> ProcessingJob:
        job = self._read(ProcessingJob.objects.select_for_update())
        own = {self._attempt, self._open_attempt if within else None} - {None}
        if own and _attempt_of(job) not in own:
            raise StaleAttempt(self.job_id, max(number for _, number in filter(None, own)), job.attempt)
        change = decide(job)
        if change is None:
            return job
        written = apply(connection, job, change, expected=job.seq)
        assert written is not None, "the row is locked"
        return written

    def _read(self, jobs: Any) -> ProcessingJob:
        try:
            job: ProcessingJob = jobs.get(pk=self.job_id)
        except ProcessingJob.DoesNotExist:
            raise JobNotFound(self.job_id) from None
        return job

    def _hold(self, job: ProcessingJob) -> None:
        """Take a state that the open transaction may yet undo."""
        self._latest, self._committed = job, None
        self._open_attempt = _attempt_of(job)

    def _settle(self, job: ProcessingJob) -> None:
        """Take a committed state as known, unless a later one is."""
        with self._lock:
            known = self._committed
            if known is not None and known.epoch == job.epoch and known.seq > job.seq:
                return
            self._latest = self._committed = job
            self._attempt, self._open_attempt = _attempt_of(job), None


def _attempt_of(job: ProcessingJob) -> tuple[str, int]:
    """Return what tells one attempt from all others: a history that was rewritten makes no other of it."""
    return birth(job.epoch), job.attempt


def renew_epoch(job_id: str, epoch: str) -> None:
    """Give a job whose log was set back (a restored backup, say) another stream, unless somebody has done so.

    Positions in the old one stand for events that are no more; whoever offers one gets a snapshot. A worker
    that reports on the job goes on, and is not waited for while it holds the job's row.
    """
    connection = connection_to_write()
    jobs = ProcessingJob.objects.using(connection.alias).filter(pk=job_id, epoch=epoch)
    with transaction.atomic(using=connection.alias):
        free = jobs.select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked)
        if list(free.values_list("pk")):
            jobs.update(epoch=renewed(epoch))

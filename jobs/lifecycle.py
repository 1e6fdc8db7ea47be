"""The one writer of jobs: every change is one transaction that updates the job and logs the event.

The position ``seq`` is taken under the job row's lock, so that on every database the order of
commits is the order of ``seq``, with no gap. The usual write needs no read before it: the update
is conditional on the attempt and the position that this object last knew committed. Where somebody
else has written since, the row is locked, read, and the change decided anew.

What a transaction has not committed yet, no object remembers: it is asked of the transaction itself, which forgets it
when it is rolled back, whole or to a savepoint.
"""

import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Concatenate, ParamSpec, Self, TypeVar
from uuid import UUID

from django.db import Error, IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import OuterRef, Subquery

from . import bounds, changes, database
from .changes import Change
from .database import connection_to_write, repeated
from .events import Event
from .exceptions import DuplicateJob, InvalidTransition, InvalidValue, JobNotFound, StaleAttempt
from .ids import birth, renewed
from .models import JobEvent, ProcessingJob
from .rate import RateEstimator
from .states import EventKind
from .threads import in_thread
from .writes import Write, append, event_of, is_logged, tell, write, writes_in_one_statement

P = ParamSpec("P")
R = TypeVar("R")
Attempt = tuple[str, int]  # which job, of all that ever had its id, and which run of it
Decision = partial[Any]  # what a method was asked for: with the job as it is, it gives a `Change`, or None

KEEP: Any = object()  # as an argument: leave it as it is


def async_twin(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """Return the asynchronous form of a method: the same, run in the bounded pool of threads."""

    async def twin(*args: P.args, **kwargs: P.kwargs) -> R:
        return await in_thread(method, *args, **kwargs)

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

    def __init__(self, job_or_id: ProcessingJob | str | UUID) -> None:
        # For show and for the attempt. What is written is decided on what the row says: this may
        # be changed by hand, or come from a transaction that was rolled back.
        self._given: ProcessingJob | None = None
        self._attempt: Attempt | None = None
        if isinstance(job_or_id, ProcessingJob):
            self._given, self._attempt, job_or_id = job_or_id, _attempt_of(job_or_id), job_or_id.pk
        self.job_id = bounds.job_id(job_or_id)
        self._known: ProcessingJob | None = None  # the state as this object last knew it committed
        self._unclear: list[tuple[Decision, Write]] = []  # sent as the connection was lost
        self._rate = RateEstimator()
        self._lock = threading.Lock()  # of these fields; never held while the database is asked

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as an id and an attempt."""
        return _bound, (self.job_id, self._attempt)

    # Making and reading

    @classmethod
    def create(
        cls,
        job_id: str | UUID | None = None,
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
        now = repeated(database.now)
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
        event = event_of(job, Change(EventKind.STATUS), now)
        lifecycle = cls(job)

        def insert(connection: BaseDatabaseWrapper) -> None:
            with transaction.atomic(using=connection.alias):
                job.save(force_insert=True, using=connection.alias)
                append(connection, event)
                connection.on_commit(_Committed(lifecycle, job, event), robust=True)

        try:
            repeated(insert)
        except IntegrityError:
            there = ProcessingJob.objects.using(connection_to_write().alias).filter(pk=job.pk).first()
            if there is None:
                raise
            if there.epoch != job.epoch:
                raise DuplicateJob(job.pk) from None
            _Committed(lifecycle, job, event)()  # before the connection was lost
        return lifecycle

    @property
    def job(self) -> ProcessingJob:
        """The job as this object last read or wrote it.

        Raises:
            JobNotFound: There is none.

        """
        connection = connection_to_write()
        held = self._held(connection)
        known = held.job if held is not None else self._known or self._given
        if known is None:
            known = repeated(self._read)
            # To read binds an object that is not bound yet; it makes a late one no other attempt's.
            connection.on_commit(_Committed(self, known, attempt=self._attempt), robust=True)
        return known

    @property
    def cancel_requested(self) -> bool:
        """Whether a cancellation was asked for, as far as this object knows: each report asks anew."""
        return self.job.cancel_requested_at is not None

    # Changing

    def mark_queued(self, message: str = "", *, metadata: dict[str, Any] | None = None) -> None:
        """Record that the job waits for a worker. A running job is given up and gets a new attempt."""
        given = changes.checked(message, metadata)
        self._write(partial(changes.queued, **given))

    def mark_started(self, message: str = "", *, metadata: dict[str, Any] | None = None) -> None:
        """Record that a worker has begun."""
        given = changes.checked(message, metadata)
        self._write(partial(changes.started, **given))
        with self._lock:
            self._rate.reset(0, time.monotonic())

    def mark_progress(
        self,
        progress: float | None = None,
        *,
        current: float | None = None,
        total: float | None = None,
        message: str | None = None,
        stage: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Record how far the job is. What is not given stays as it was.

        Args:
            progress: Percent, 0–100.
            current: How many units are done; with a total it gives the percentage, without one the
                progress is indeterminate.
            total: How many units there are.
            message: What is going on, at most 2,000 characters; an empty one clears it.
            stage: The part of the job that is under way.
            metadata: JSON to add to the job's, at most 16 KiB together.

        """
        report = changes.Report.checked(progress, current, total, message, stage, metadata)
        self._write(partial(changes.progressed, report=report, rate=self._rate))

    def mark_completed(self, message: str = "", *, result: Any = None, metadata: dict[str, Any] | None = None) -> None:
        """Record that the job has succeeded, with a result of at most 16 KiB of JSON."""
        given = changes.checked(message, metadata)
        stored = bounds.json_value(result, "result")
        self._write(partial(changes.completed, result=stored, **given))

    def mark_failed(
        self, message: str = "", *, error: str | BaseException = "", metadata: dict[str, Any] | None = None
    ) -> None:
        """Record that the job has failed; without a message, the error's first line is shown."""
        given = changes.checked(message, metadata)
        reason = changes.error_text(error)
        self._write(partial(changes.failed, error=reason, **given))

    def mark_cancelled(self, message: str = "", *, metadata: dict[str, Any] | None = None) -> None:
        """Record that the job was given up on request."""
        given = changes.checked(message, metadata)
        self._write(partial(changes.cancelled, **given))

    def request_cancel(self, message: str = "", *, metadata: dict[str, Any] | None = None) -> None:
        """Ask for the job to be cancelled: at once if it waits, else by its worker, which need be asked only once."""
        given = changes.checked(message, metadata)
        self._write(partial(changes.cancel_requested, **given))

    def retry(self, message: str = "", *, metadata: dict[str, Any] | None = None) -> None:
        """Queue a failed or cancelled job again, as a new attempt, to which this object is then bound."""
        given = changes.checked(message, metadata)
        self._write(partial(changes.retried, **given))

    def log(self, text: str, *, level: str = "info") -> None:
        """Add a line of at most 2,000 characters to the job's log, at a level that ``logging`` names."""
        line = bounds.text(text, "log line", bounds.MAX_MESSAGE)
        self._write(partial(changes.logged, text=line, level=changes.log_level(level)))

    def edit(self, *, name: str = KEEP, owner: Any = KEEP, public: bool = KEEP) -> None:
        """Change what the job is called, whose it is, or whether anyone may watch it; no event tells of it.

        Watchers who may no longer see the job are turned away when the log is compared next.
        """
        fields = {"owner": owner} if owner is not KEEP else {}
        if name is not KEEP:
            fields["name"] = bounds.text(name, "name", bounds.MAX_NAME)
        if public is not KEEP:
            fields["public"] = bool(public)

        def update(connection: BaseDatabaseWrapper) -> int:
            return ProcessingJob.objects.using(connection.alias).filter(pk=self.job_id).update(**fields)

        if fields and not repeated(update):
            raise JobNotFound(self.job_id)
        self._given = self._known = None

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
    aedit = async_twin(edit)

    # The write

    def _write(self, decide: Decision) -> None:
        """Decide on a change, apply it and log it, all in one transaction."""
        repeated(partial(self._try, decide))

    def _try(self, decide: Decision, connection: BaseDatabaseWrapper) -> None:
        if connection.in_atomic_block:
            self._write_under_lock(connection, decide, [])
            return
        sent: list[Write] = []
        session = connection.connection
        try:
            if self._unclear or not self._write_at_known_position(connection, decide, sent):
                with transaction.atomic(using=connection.alias):
                    self._write_under_lock(connection, decide, sent)
        except Error:
            if sent and database.is_lost(connection, session):
                with self._lock:
                    self._unclear.append((decide, sent[-1]))
            raise

    def _write_at_known_position(self, connection: BaseDatabaseWrapper, decide: Decision, sent: list[Write]) -> bool:
        """Write without a read if nobody else has written since; else return False, having changed nothing."""
        known = self._known
        if known is None or _attempt_of(known) != self._attempt:
            return False
        try:
            change = self._decide(decide, known)
        except (InvalidTransition, InvalidValue):
            return False  # the row itself has the last word
        if change is None:
            return False
        sent.append(Write.of(connection, known, change))
        try:
            if writes_in_one_statement(connection):
                return self._apply(connection, sent[-1])
            with transaction.atomic(using=connection.alias):
                return self._apply(connection, sent[-1])
        except IntegrityError:
            return False  # the row was set back to where this object knew it

    def _write_under_lock(self, connection: BaseDatabaseWrapper, decide: Decision, sent: list[Write]) -> None:
        job = self._read(connection, lock=True)
        held = self._held(connection)
        attempt, is_done = (self._attempt if held is None else held.attempt), False
        for wanted, earlier in list(self._unclear):
            if is_logged(connection, earlier.event):
                attempt, is_done = _attempt_of(earlier.after), is_done or _is_same(wanted, decide)
                connection.on_commit(partial(tell, earlier.event), robust=True)
        if self._unclear:
            connection.on_commit(self._clear_up)
        if attempt is not None and attempt != _attempt_of(job):
            raise StaleAttempt(self.job_id, attempt[1], job.attempt)
        change = None if is_done else self._decide(decide, job)
        if change is None:
            connection.on_commit(_Committed(self, job), robust=True)
            return
        sent.append(Write.of(connection, job, change, logged=getattr(job, "logged", None) or 0))
        written = self._apply(connection, sent[-1])
        assert written, "the row is locked"

    def _decide(self, decide: Decision, job: ProcessingJob) -> Change | None:
        with self._lock:  # of the rate, which is reckoned meanwhile
            change: Change | None = decide(job)
        return change

    def _apply(self, connection: BaseDatabaseWrapper, change: Write) -> bool:
        """Write a change; once that is committed, know it, and tell of it."""
        if not write(connection, change):
            return False
        connection.on_commit(_Committed(self, change.after, change.event), robust=True)
        return True

    def _read(self, connection: BaseDatabaseWrapper, *, lock: bool = False) -> ProcessingJob:
        jobs: Any = ProcessingJob.objects.using(connection.alias)
        if lock:
            log = JobEvent.objects.filter(job_id=OuterRef("pk")).order_by("-seq")
            jobs = jobs.select_for_update().annotate(logged=Subquery(log.values("seq")[:1]))
        try:
            job: ProcessingJob = jobs.get(pk=self.job_id)
        except ProcessingJob.DoesNotExist:
            raise JobNotFound(self.job_id) from None
        return job

    def _held(self, connection: BaseDatabaseWrapper) -> "_Committed | None":
        """Return what this object did last in the transaction that is open, unless that was rolled back."""
        for _, hook, *_ in reversed(connection.run_on_commit if connection.in_atomic_block else ()):
            if isinstance(hook, _Committed) and hook.lifecycle is self:
                return hook
        return None

    def _settle(self, job: ProcessingJob, attempt: Attempt) -> None:
        """Take a committed state as known, unless a later one is."""
        with self._lock:
            known = self._known
            if known is None or known.epoch != job.epoch or known.seq <= job.seq:
                self._known, self._given, self._attempt = job, None, attempt

    def _clear_up(self) -> None:
        """Forget what was unclear: it is not any more."""
        with self._lock:
            self._unclear.clear()


class _Committed:
    """What is done when a transaction of a lifecycle commits; until then, the transaction's memory of it.

    A receiver of the event that uses the lifecycle finds it up to date.
    """

    def __init__(
        self,
        lifecycle: ProcessingJobLifecycle,
        job: ProcessingJob,
        event: Event | None = None,
        attempt: Attempt | None = None,
    ) -> None:
        self.lifecycle, self.job, self.event = lifecycle, job, event
        self.attempt = attempt or _attempt_of(job)

    def __call__(self) -> None:
        self.lifecycle._settle(self.job, self.attempt)
        if self.event is not None:
            tell(self.event)


def _attempt_of(job: ProcessingJob) -> Attempt:
    """Return what tells one attempt from all others: a history that was rewritten makes no other of it."""
    return birth(job.epoch), job.attempt


def _is_same(one: Decision, other: Decision) -> bool:
    return (one.func, one.keywords) == (other.func, other.keywords)


def _bound(job_id: str, attempt: Attempt | None) -> ProcessingJobLifecycle:
    """Return a lifecycle that was sent from another process."""
    lifecycle = ProcessingJobLifecycle(job_id)
    lifecycle._attempt = attempt
    return lifecycle


def renew_epoch(job_id: str, epoch: str) -> None:
    """Give a job whose log was set back (a restored backup, say) another stream, unless somebody has done so.

    Positions in the old one stand for events that are no more; whoever offers one gets a snapshot. A worker
    that reports on the job goes on, and is not waited for while it holds the job's row.
    """

    def renew(connection: BaseDatabaseWrapper) -> None:
        jobs = ProcessingJob.objects.using(connection.alias).filter(pk=job_id, epoch=epoch)
        with transaction.atomic(using=connection.alias):
            free = jobs.select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked)
            if list(free.values_list("pk")):
                jobs.update(epoch=renewed(epoch))

    repeated(renew)

"""How an attempt's changes are written: each is one transaction that updates the job and logs the event.

The position ``seq`` is taken under the job row's lock, so that on every database the order of
commits is the order of ``seq``, with no gap. The usual write needs no read before it: the update
is conditional on the attempt and the position that this object last knew committed. Where somebody
else has written since, the row is locked, read, and the change decided anew.

No object remembers what is not committed yet. The transaction does: it holds a hook for each write, and drops the hook
when it is rolled back, whole or to a savepoint.
"""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.db import Error, IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import OuterRef, Subquery

from . import database, validation
from .actions import Action
from .changes import Change
from .database import connection_to_write, with_retries
from .events import Event
from .exceptions import InvalidTransition, InvalidValue, JobNotFound, StaleAttempt
from .ids import birth
from .models import JobEvent, ProcessingJob
from .retention import trimming
from .writes import Write, announce, is_logged, write, writes_in_one_statement

Attempt = tuple[str, int]  # which job, of all that ever had its id, and which run of it


class Decision(NamedTuple):
    """What a method was asked for: a function of `changes`, all its arguments but the job, and who it was, if kept."""

    decide: Callable[..., Change | None]
    arguments: dict[str, Any]
    action: Action | None = None

    def on(self, job: ProcessingJob) -> Change | None:
        """Return what is to change in a job as it is now."""
        return self.decide(job, **self.arguments)


# What was sent when the connection was lost, so that it may be committed or not.
Unclear = tuple[Decision, Write]


class AttemptWriter:
    """Writes what happens to one attempt of one job, and knows what of it is committed.

    Args:
        job_or_id: A job, or the id of one.

    """

    def __init__(self, job_or_id: ProcessingJob | str | UUID) -> None:
        self._attempt: Attempt | None = None
        if isinstance(job_or_id, ProcessingJob):
            # Nothing else is taken from it: it may have been changed by hand, or come from a transaction that was
            # rolled back.
            self._attempt, job_or_id = attempt_of(job_or_id), job_or_id.pk
        self.job_id = validation.job_id(job_or_id)
        self._known: ProcessingJob | None = None  # the state as this object last knew it committed
        self._unclear: list[Unclear] = []  # of calls that were given up
        self._lock = threading.Lock()  # of these fields; never held while the database is asked

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as an id and an attempt."""
        return _bound, (type(self), self.job_id, self._attempt)

    @property
    def job(self) -> ProcessingJob:
        """The job as this object last read or wrote it.

        Raises:
            JobNotFound: There is none.

        """
        connection = connection_to_write()
        held = self._uncommitted(connection)
        known = held.job if held is not None else self._known
        if known is None:
            known = with_retries(self._read)
            # An object without an attempt takes the one that it reads; any other keeps its own, even if that is over.
            connection.on_commit(Committed(self, known, attempt=self._attempt), robust=True)
        return known

    def _write(
        self, decide: Callable[..., Change | None], action: Action | None = None, /, **arguments: Any
    ) -> Change | None:
        """Decide on a change, apply it and log it, all in one transaction; return it, or None if nothing is to change.

        Args:
            decide: A function of `changes`, which gets the job as it is. It may run more than once for a change, so
                it must have no side effects.
            action: What is kept of who asked for it, in the same transaction.
            arguments: What it gets besides.

        """
        own: list[Unclear] = []
        try:
            return with_retries(partial(self._write_once, Decision(decide, arguments, action), own))
        except BaseException:
            self._leave(own)  # to the caller, who may repeat the call
            raise

    def _write_once(self, decision: Decision, own: list[Unclear], connection: BaseDatabaseWrapper) -> Change | None:
        """Try once; add to ``own`` what was sent when the connection was lost, which no other call may claim."""
        if connection.in_atomic_block:
            unclear = list(self._unclear)
            change = self._write_under_lock(connection, decision, unclear, [])
            if unclear:
                connection.on_commit(partial(self._forget, unclear))
            return change
        sent: list[Write] = []
        driver_connection = connection.connection
        try:
            if not own and not self._unclear:
                change = self._write_at_known_position(connection, decision, sent)
                if change is not None:
                    return change
            left = [] if own else self._take_left()
            try:
                with transaction.atomic(using=connection.alias):
                    return self._write_under_lock(connection, decision, own or left, sent)
            except BaseException:
                self._leave(left)
                raise
        except Error:
            if sent and database.is_lost(connection, driver_connection):
                own.append((decision, sent[-1]))
            raise

    def _write_at_known_position(
        self, connection: BaseDatabaseWrapper, decision: Decision, sent: list[Write]
    ) -> Change | None:
        """Write without a read if nobody else has written since; else return None, having changed nothing."""
        known = self._known
        if known is None or attempt_of(known) != self._attempt or decision.action is not None:
            return None
        try:
            change = decision.on(known)
        except (InvalidTransition, InvalidValue):
            return None  # the row itself has the last word
        if change is None:
            return None
        sent.append(Write.of(connection, known, change))
        own = nullcontext() if writes_in_one_statement(connection) else transaction.atomic(using=connection.alias)
        try:
            with own:
                return change if self._apply(connection, sent[-1]) else None
        except IntegrityError:
            return None  # the row was set back to where this object knew it

    def _write_under_lock(
        self, connection: BaseDatabaseWrapper, decision: Decision, unclear: list[Unclear], sent: list[Write]
    ) -> Change | None:
        """Lock the row and decide on what it says.

        The log is asked first for writes of which it is unclear whether they were committed: those that were are
        announced, and if one was this same decision, nothing is written again.
        """
        job = self._read(connection, lock=True)
        pending = self._uncommitted(connection)
        attempt, is_done = (self._attempt if pending is None else pending.attempt), False
        for earlier_decision, earlier in unclear:
            if is_logged(connection, earlier.event):
                attempt, is_done = attempt_of(earlier.after), is_done or earlier_decision == decision
                connection.on_commit(partial(announce, earlier.event), robust=True)
        if attempt is not None and attempt != attempt_of(job):
            raise StaleAttempt(self.job_id, attempt[1], job.attempt)
        change = None if is_done else decision.on(job)
        if change is None:
            connection.on_commit(Committed(self, job), robust=True)
            return None
        sent.append(Write.of(connection, job, change, last_seq=getattr(job, "last_seq", None) or 0))
        written = self._apply(connection, sent[-1])
        assert written, "the row is locked"
        if decision.action is not None:
            decision.action.record(connection, job, sent[-1].after, sent[-1].event.timestamp)
        return change

    def _apply(self, connection: BaseDatabaseWrapper, prepared: Write) -> bool:
        """Write a change; once that is committed, know and announce it. Return whether it was written."""
        if not write(connection, prepared):
            return False
        connection.on_commit(Committed(self, prepared.after, prepared.event), robust=True)
        return True

    def _read(self, connection: BaseDatabaseWrapper, *, lock: bool = False) -> ProcessingJob:
        jobs: Any = ProcessingJob.objects.using(connection.alias)
        if lock:
            log = JobEvent.objects.filter(job_id=OuterRef("pk")).order_by("-seq")
            jobs = jobs.select_for_update().annotate(last_seq=Subquery(log.values("seq")[:1]))
        try:
            job: ProcessingJob = jobs.get(pk=self.job_id)
        except ProcessingJob.DoesNotExist:
            raise JobNotFound(self.job_id) from None
        return job

    def _uncommitted(self, connection: BaseDatabaseWrapper) -> "Committed | None":
        """Return what this object did last in the transaction that is open, unless that was rolled back."""
        for _, hook, *_ in reversed(connection.run_on_commit if connection.in_atomic_block else ()):
            if isinstance(hook, Committed) and hook.writer is self:
                return hook
        return None

    def _settle(self, job: ProcessingJob, attempt: Attempt) -> None:
        """Take a committed state as known, unless a later one is known already."""
        with self._lock:
            known = self._known
            if known is None or known.epoch != job.epoch or known.seq <= job.seq:
                self._known, self._attempt = job, attempt

    # Unclear writes of calls that were given up. Each is for one call: the caller's repetition, or whatever comes next.

    def _take_left(self) -> list[Unclear]:
        with self._lock:
            left, self._unclear = self._unclear, []
        return left

    def _leave(self, unclear: list[Unclear]) -> None:
        with self._lock:
            self._unclear = [*unclear, *self._unclear]

    def _forget(self, unclear: list[Unclear]) -> None:
        with self._lock:
            self._unclear = [one for one in self._unclear if one not in unclear]


class Committed:
    """What is done when a writer's transaction commits: a hook, which until then shows the writer what is uncommitted.

    A receiver of the event that uses the writer finds it up to date.
    """

    def __init__(
        self,
        writer: AttemptWriter,
        job: ProcessingJob,
        event: Event | None = None,
        attempt: Attempt | None = None,
    ) -> None:
        self.writer, self.job, self.event = writer, job, event
        self.attempt = attempt or attempt_of(job)

    def __call__(self) -> None:
        """Know and announce it; now and then, trim the log."""
        self.writer._settle(self.job, self.attempt)
        if self.event is not None:
            announce(self.event)
            if self.job.seq % trimming.TRIM_EVERY == 0:
                trimming.trim(self.job)


def attempt_of(job: ProcessingJob) -> Attempt:
    """Return what identifies an attempt among all others. It stays the same when the job's history is rewritten."""
    return birth(job.epoch), job.attempt


def _bound(kind: type[AttemptWriter], job_id: str, attempt: Attempt | None) -> AttemptWriter:
    """Return a writer that was sent from another process."""
    writer = kind(job_id)
    writer._attempt = attempt
    return writer

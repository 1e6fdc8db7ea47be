"""How an attempt's changes are written: each is one transaction that updates the job and logs the event.

The position ``seq`` is taken under the job row's lock, so that on every database the order of
commits is the order of ``seq``, with no gap. The usual write needs no read before it: the update
is conditional on the attempt and the position that this object last knew committed. Where somebody
else has written since, the row is locked, read, and the change decided anew.

No object remembers what is not committed yet. The transaction does: it holds a hook for each write, and drops the hook
when it is rolled back, whole or to a savepoint.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any
from uuid import UUID

from django.db import Error, IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import OuterRef, Subquery

from . import database, validation
from .actions import Action
from .changes import WORKER_LOST, Change
from .children import tell_parents
from .committed import Attempt, Committed, attempt_of
from .database import connection_to_write, jobs_as_written, with_retries
from .decisions import Decision, Sent, lost
from .exceptions import InvalidTransition, InvalidValue, JobCancelled, JobError, JobNotFound, StaleAttempt
from .models import JobEvent, ProcessingJob
from .rate import Rate
from .time_left import store
from .time_left.course import Course
from .writes import Write, announce, write, write_all, writes_in_one_statement

STOP_FIELDS = ("epoch", "attempt", "status", "cancel_requested_at")  # what `AttemptWriter.why_stop` looks at


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
        self._unclear: list[Sent] = []  # by calls that were given up
        self._rate: Rate | None = None  # by the reports of this process that were written
        self._course: Course | None = None  # likewise, of a run of a kind that was begun here
        self._worker: str | None = None  # whose lease the run holds
        self._lock = threading.Lock()  # of these fields; never held while the database is asked

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as an id and an attempt."""
        return _bound, (type(self), self.job_id, self._attempt)

    def why_stop(self, job: ProcessingJob | None) -> JobError | None:
        """Return why this attempt is to stop, by the job's row as it is now, which is None if it is gone."""
        pending = self._uncommitted(connection_to_write())
        attempt = self._attempt if pending is None else pending.attempt
        if attempt is None:
            return None  # it has not begun
        if job is None:
            return JobNotFound(self.job_id)
        if attempt_of(job) != attempt:
            return StaleAttempt(self.job_id, attempt[1], job.attempt)
        is_asked = job.cancel_requested_at is not None and not job.is_finished
        return JobCancelled(self.job_id) if is_asked else None

    def asked_to_stop(self) -> JobError | None:
        """Read whether this attempt is to stop, and return why."""
        return self.why_stop(jobs_as_written().only(*STOP_FIELDS).filter(pk=self.job_id).order_by().first())

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

    def _write(self, decide: Callable[..., Change | None], action: Action | None = None, /, **arguments: Any) -> None:
        """Decide on a change, apply it and log it, all in one transaction.

        Args:
            decide: A function of `changes`, which gets the job as it is. It may run more than once for a change, so
                it must have no side effects.
            action: What is kept of who asked for it, in the same transaction.
            arguments: What it gets besides.

        """
        self.write([Decision(decide, arguments, action)])

    def write(self, decisions: Sequence[Decision]) -> None:
        """Write changes in order, each decided on what the ones before have left: all in one transaction, or none."""
        if not decisions:
            return
        own: list[Sent] = []
        try:
            writes = with_retries(partial(self._write_once, decisions, own))
        except BaseException:
            self._leave(own)  # to the caller, who may repeat the call
            raise
        self.count_in(writes)

    def planned(self, connection: BaseDatabaseWrapper, decisions: Sequence[Decision]) -> list[Write] | None:
        """Decide on the state that is known; return None where the row itself has the last word."""
        known = self._known
        if known is None or attempt_of(known) != self._attempt or self._unclear:
            return None
        for decision in decisions:
            if decision.action is not None or decision.sent:
                return None
        try:
            writes = self._decided(connection, known, decisions)
        except (InvalidTransition, InvalidValue):
            return None
        return writes if len(writes) == len(decisions) else None

    def count_in(self, writes: Sequence[Write]) -> None:
        """Go on from the rate and the course with what was written."""
        for written in writes:
            self._rate = written.change.rate or self._rate
            self._course = written.change.course or self._course

    def _decided(
        self, connection: BaseDatabaseWrapper, job: ProcessingJob, decisions: Sequence[Decision], last_seq: int = 0
    ) -> list[Write]:
        """Decide on changes, each on what the ones before it leave; where nothing is to change, there is no write."""
        writes: list[Write] = []
        rate, course, now = self._rate, self._course, database.now(connection)
        for decision in decisions:
            if (report := decision.arguments.get("report")) is not None:
                report.rate, report.course = rate, course  # by now: one before it may have been written meanwhile
            elif (end := decision.arguments.get("end")) is not None:
                end.course = course
            elif (start := decision.arguments.get("start")) is not None:
                start.history = store.history_of(start.kind_of(job), start.history)
            change = decision.on(job)
            if change is not None:
                writes.append(Write.of(job, change, now, last_seq=last_seq))
                job, rate, course = writes[-1].after, change.rate or rate, change.course or course
        return writes

    def _write_once(
        self, decisions: Sequence[Decision], own: list[Sent], connection: BaseDatabaseWrapper
    ) -> Sequence[Write]:
        """Try once; add to ``own`` what was sent when the connection was lost, which no other call may claim."""
        if connection.in_atomic_block:
            unclear = list(self._unclear)
            writes = self._write_under_lock(connection, decisions, unclear, [])
            if unclear:
                connection.on_commit(partial(self._forget, unclear))
            return writes
        sent: list[Write] = []
        driver_connection = connection.connection
        try:
            if not own and self._write_at_known_position(connection, decisions, sent):
                return sent
            left = [] if own else self._take_left()
            try:
                with transaction.atomic(using=connection.alias):
                    return self._write_under_lock(connection, decisions, own or left, sent)
            except BaseException:
                self._leave(left)
                raise
        except Error:
            if sent and database.is_lost(connection, driver_connection):
                own.append(lost(decisions, sent))
            raise

    def _write_at_known_position(
        self, connection: BaseDatabaseWrapper, decisions: Sequence[Decision], sent: list[Write]
    ) -> bool:
        """Write without a read if nobody else has written since; else return False, having changed nothing."""
        writes = self.planned(connection, decisions)
        if writes is None:
            return False
        sent[:] = writes
        is_one = len(writes) == 1 and writes_in_one_statement(connection) and writes[0].change.run is None
        own = nullcontext() if is_one else transaction.atomic(using=connection.alias)
        try:
            with own:
                return self._apply(connection, decisions, writes)
        except IntegrityError:
            return False  # the row was set back to where this object knew it

    def _write_under_lock(
        self,
        connection: BaseDatabaseWrapper,
        decisions: Sequence[Decision],
        unclear: list[Sent],
        sent: list[Write],
    ) -> Sequence[Write]:
        """Lock the row and decide on what it says.

        The log is asked first for writes of which it is unclear whether they were committed: those that were are
        announced, and decisions that were among them are not written again.
        """
        job = self._read(connection, lock=True)
        pending = self._uncommitted(connection)
        attempt, logged = (self._attempt if pending is None else pending.attempt), list[Decision]()
        for earlier in unclear:
            if earlier.is_committed(connection):
                attempt, logged = attempt_of(earlier.writes[-1].after), [*logged, *earlier.decisions]
                for one in earlier.writes:
                    connection.on_commit(partial(announce, one.event), robust=True)
                tell_parents(connection, earlier.writes[0].before, earlier.writes[-1].after)
        if attempt is not None and (attempt != attempt_of(job) or (self._worker and WORKER_LOST in job.metadata)):
            raise StaleAttempt(self.job_id, attempt[1], job.attempt)
        # Also where another call of this object has taken over what is unclear, and tells of it.
        for again in {id(one): one for decision in decisions for one in decision.sent}.values():
            again.is_committed(connection)
        due = [decision for decision in decisions if not (decision.is_written or decision in logged)]
        writes = self._decided(connection, job, due, getattr(job, "last_seq", None) or 0)
        if not writes:
            connection.on_commit(Committed(self, job), robust=True)
            return writes
        sent[:] = writes
        written = self._apply(connection, due, writes)
        assert written, "the row is locked"
        if due[0].action is not None:  # which is alone
            due[0].action.record(connection, job, writes[0].after, writes[0].event.timestamp)
        return writes

    def _apply(self, connection: BaseDatabaseWrapper, decisions: Sequence[Decision], writes: Sequence[Write]) -> bool:
        """Write changes; once that is committed, know and announce them. Return whether they were written."""
        if not (write(connection, writes[0]) if len(writes) == 1 else write_all(connection, [writes])):
            return False
        for written in writes:
            if written.change.run is not None:
                store.keep(connection, written.after.kind, written.change.run, written.event.timestamp)
        self.once_committed(connection, decisions, writes)
        return True

    def once_committed(
        self, connection: BaseDatabaseWrapper, decisions: Sequence[Decision], writes: Sequence[Write]
    ) -> None:
        """Know and announce changes, once they are committed."""
        events = [write.event for write in writes]
        connection.on_commit(Committed(self, writes[-1].after, events, decisions), robust=True)
        tell_parents(connection, writes[0].before, writes[-1].after)

    def lost(self, decisions: Sequence[Decision], writes: Sequence[Write]) -> None:
        """Keep in mind that it is unclear whether something is written; whatever is done next looks for it."""
        self._leave([lost(decisions, writes)])

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

    def settle(self, job: ProcessingJob, attempt: Attempt) -> None:
        """Take a committed state as known, unless a later one is known already."""
        with self._lock:
            known = self._known
            if known is None or known.epoch != job.epoch or known.seq <= job.seq:
                self._known, self._attempt = job, attempt

    # Unclear writes of calls that were given up. Each is for one call: the caller's repetition, or whatever comes next.

    def _take_left(self) -> list[Sent]:
        with self._lock:
            left, self._unclear = self._unclear, []
        return left

    def _leave(self, unclear: list[Sent]) -> None:
        with self._lock:
            self._unclear = [*unclear, *self._unclear]

    def _forget(self, unclear: list[Sent]) -> None:
        with self._lock:
            self._unclear = [one for one in self._unclear if one not in unclear]


def _bound(kind: type[AttemptWriter], job_id: str, attempt: Attempt | None) -> AttemptWriter:
    """Return a writer that was sent from another process."""
    writer = kind(job_id)
    writer._attempt = attempt
    return writer

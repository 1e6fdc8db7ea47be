"""All that may happen to a job: nothing else changes one. `jobs.attempt` has the transaction, `jobs.writes` the SQL."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Self
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from . import changes, children, database, extras, family, validation
from .actions import Action
from .actors import By, saved_user_id
from .attempt import AttemptWriter
from .changes import Change
from .committed import Committed
from .database import connection_to_write, with_retries
from .exceptions import DuplicateJob, InvalidTransition, InvalidValue, JobNotFound
from .models import ProcessingJob
from .progress_report import Report
from .rate import RateEstimator
from .retention.deletion import delete_job
from .states import ActionKind, EventKind
from .threads import async_twin
from .time_left import learned
from .time_left.learned import Start
from .writes import append, event_of

Plan = Mapping[str, float] | Sequence[str | tuple[str, float]]
KEEP: Any = object()  # as an argument: leave it as it is


class ProcessingJobLifecycle(AttemptWriter):
    """One attempt of one job, and all that may happen to it.

    Made from a job, it is bound to that job's attempt; made from an id, to the attempt that it finds at first use.
    Once the job has been queued again elsewhere, the late reports of this attempt raise `StaleAttempt`.

    Every method raises `JobNotFound`, `StaleAttempt`, `InvalidTransition` or `InvalidValue` for the
    caller's own mistakes, and then has changed nothing. Within a transaction of the caller's, the
    change is sent to watchers after it commits, and never if it is rolled back.

    Who asks for a change is named by ``by``: a user, an `Actor`, or None for the site's own code. It is kept, and shown
    in the admin alone.

    Args:
        job_or_id: A job, or the id of one.

    """

    # Making and reading

    @classmethod
    def create(
        cls,
        job_id: str | UUID | None = None,
        *,
        name: str = "",
        owner: Any = KEEP,
        public: bool = KEEP,
        keep: bool = False,
        metadata: dict[str, Any] | None = None,
        kind: str = "",
        plan: Plan | None = None,
        size: float | None = None,
        parent: family.Parent | None = None,
        weight: float = 1,
    ) -> Self:
        """Make a pending job.

        Args:
            job_id: The caller's own id, or none to have one generated.
            name: What people call it, at most 200 characters.
            owner: The user who may watch it; if not given, the parent's owner.
            public: Whether anyone may watch it; if not given, whether the parent is public.
            keep: Whether it is never pruned, however old it gets.
            metadata: JSON that every event of the job carries, at most 16 KiB.
            kind: What sort of work it is, such as the task's name; at most 100 characters.
            plan: Its stages, at most 100: weights by name, or a list of names and of pairs of name and weight.
            size: How much there is to do, in units of the caller's such as rows or bytes; 0 or more.
            parent: The job that it is a part of, which has not ended; it then shows how far its children are.
            weight: Its share of that, beside the other children's; from 1e-9 to 1e9.

        Raises:
            DuplicateJob: The id is taken, or that of a job whose log is still being deleted.
            InvalidValue: An argument is out of its bounds, or the parent is not there or has ended.
            StaleAttempt: The parent's lifecycle is that of an earlier attempt.

        """
        now = with_retries(database.now)
        fields: dict[str, Any] = {} if job_id is None else {"id": validation.job_id(job_id)}
        above = None if parent is None else family.parent_of_new(parent)
        if above is not None:
            now, fields = max(now, above.created_at), {**fields, "parent_id": above.pk}
        job = ProcessingJob(
            **fields,
            name=validation.text(name, "name", validation.MAX_NAME),
            **({"owner_id": above and above.owner_id} if owner is KEEP else {"owner": owner}),
            public=bool(above and above.public) if public is KEEP else bool(public),
            weight=validation.weight_of_child(weight),
            keep=bool(keep),
            metadata={**validation.metadata(metadata or {}), "attempt": 1},
            **changes.about(kind, plan, size),
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
                append(connection, [event])
                connection.on_commit(Committed(lifecycle, job, [event]), robust=True)
                if above is not None:
                    connection.on_commit(partial(lifecycle._join, above.pk), robust=True)

        try:
            with_retries(insert)
        except IntegrityError:
            there = ProcessingJob.stored.using(connection_to_write().alias).filter(pk=job.pk).first()
            if there is None:
                raise
            if there.epoch != job.epoch:
                raise DuplicateJob(job.pk, there.deleted_at is not None) from None
            Committed(lifecycle, job, [event])()  # this insert had committed before the connection was lost
            if above is not None:
                lifecycle._join(above.pk)
        return lifecycle

    def _join(self, parent_id: str) -> None:
        """Count in the parent; and learn of a request to cancel that went to its children before this was one."""
        children.moved(parent_id)
        if family.is_to_be_cancelled(parent_id):
            with suppress(JobNotFound, InvalidTransition):  # gone or ended meanwhile
                self.request_cancel("Its parent is to be cancelled")

    @property
    def cancel_requested(self) -> bool:
        """Whether a cancellation was asked for, as far as this object knows: each report asks anew."""
        return self.job.cancel_requested_at is not None

    # Changing

    def mark_queued(self, message: str = "", *, metadata: dict[str, Any] | None = None) -> None:
        """Record that the job waits for a worker. A running job is given up and gets a new attempt."""
        self._write(changes.queued, **changes.checked(message, metadata))

    def mark_started(
        self,
        message: str = "",
        *,
        metadata: dict[str, Any] | None = None,
        kind: str | None = None,
        plan: Plan | None = None,
        size: float | None = None,
        worker: str | None = None,
    ) -> None:
        """Record that a worker has begun; of kind, plan and size, see `create`, what is not given stays as it was.

        A `Reporter` gives the id of the ``worker`` whose lease the run holds; without one, the run holds none.
        """
        about = changes.about(kind, plan, size)
        given = changes.checked(message, metadata)
        start = Start(about.get("kind"))
        self._write(changes.started, about=about, start=start, worker=worker, **given)
        now = time.monotonic()
        self._worker = worker
        self._rate = RateEstimator(0, now)
        self._course = None if start.history is None else learned.begun(start.history, self.job, now)

    def mark_progress(
        self,
        progress: float | None = None,
        *,
        current: float | None = None,
        total: float | None = None,
        message: str | None = None,
        stage: str | None = None,
        metadata: dict[str, Any] | None = None,
        of_stage: bool = False,
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
            of_stage: Whether the counts are those of the stage alone, and only ``progress`` says how far the job is: a
                count or total that is not given is then not known, and the time left is that of the percentage.

        """
        report = Report.checked(progress, current, total, message, stage, metadata, self._rate, of_stage)
        self._write(changes.progressed, report=report)

    def mark_completed(self, message: str = "", *, result: Any = None, metadata: dict[str, Any] | None = None) -> None:
        """Record that the job has succeeded, with a result of at most 16 KiB of JSON."""
        given = changes.checked(message, metadata)
        end = learned.End(time.monotonic())
        self._write(changes.completed, result=validation.json_value(result, "result"), end=end, **given)

    def mark_failed(
        self, message: str = "", *, error: str | BaseException = "", metadata: dict[str, Any] | None = None
    ) -> None:
        """Record that the job has failed; without a message, the error's first line is shown."""
        given = changes.checked(message, metadata)
        self._write(changes.failed, error=changes.error_text(error), **given)

    def mark_cancelled(self, message: str = "", *, metadata: dict[str, Any] | None = None, by: By = None) -> None:
        """Record that the job was given up on request. Who asked for that is known from the request, unless named."""
        given = changes.checked(message, metadata)
        action = None if by is None else Action.of(ActionKind.CANCEL, by, given["message"])
        self._write(changes.cancelled, action, **given)

    def request_cancel(self, message: str = "", *, metadata: dict[str, Any] | None = None, by: By = None) -> None:
        """Ask for the job to be cancelled: at once if it waits, else by its worker, which need be asked only once.

        Then its children are asked as well, in the same name; within a transaction of the caller's, in that.
        """
        given = changes.checked(message, metadata)
        self._write(changes.cancel_requested, Action.of(ActionKind.CANCEL, by, given["message"]), **given)
        for child_id in with_retries(partial(family.unasked_children, parent_id=self.job_id)):
            with suppress(JobNotFound, InvalidTransition):  # gone or ended meanwhile
                type(self)(child_id).request_cancel(message, by=by)

    def mark_cancel_unanswered(self, *, seconds: float) -> None:
        """Record, once, that the worker has not answered a request to cancel for so many seconds, if that is so."""
        self._write(changes.cancel_unanswered, now=with_retries(database.now), seconds=seconds)

    def retry(self, message: str = "", *, metadata: dict[str, Any] | None = None, by: By = None) -> None:
        """Queue a failed or cancelled job again, as a new attempt, to which this object is then bound."""
        given = changes.checked(message, metadata)
        self._write(changes.retried, Action.of(ActionKind.RETRY, by, given["message"]), **given)

    def log(self, text: str, *, level: str = "info") -> None:
        """Add a line of at most 2,000 characters to the job's log, at a level that ``logging`` names."""
        self._write(extras.log_line, **extras.checked_line(text, level))

    def output(self, text: str, name: str = "output") -> None:
        """Add to what the job puts out: text of any length in all, which watchers see as it comes.

        Of a job, 16 MiB are kept (``JOBS_OUTPUT_BYTES``), the first ones. What comes after is left out, and the end of
        what is kept says so.

        Args:
            text: At most 65,536 characters.
            name: Of which stream it is: 1–64 letters, digits, ``.``, ``_``, ``-``.

        """
        self._write(extras.output, **extras.checked_output(text, name))

    def edit(
        self, *, name: str = KEEP, owner: Any = KEEP, public: bool = KEEP, keep: bool = KEEP, by: By = None
    ) -> None:
        """Change what the job is called, whose it is, whether anyone may watch it, or whether it is never pruned.

        Watchers who may no longer see the job are turned away, and see nothing of what comes after.

        Args:
            name: At most 200 characters.
            owner: A user who is saved, or None.
            public: Whether anyone may watch it.
            keep: Whether it is never pruned, however old it gets.
            by: Who does it.

        """
        flags = {"public": public, "keep": keep}
        wanted: dict[str, Any] = {flag: bool(value) for flag, value in flags.items() if value is not KEEP}
        if name is not KEEP:
            wanted["name"] = validation.text(name, "name", validation.MAX_NAME)
        if owner is not KEEP:
            wanted["owner_id"] = None if owner is None else saved_user_id(owner, "owner")
        try:
            self._write(changes.edited, Action.of(ActionKind.EDIT, by), **wanted)
        except IntegrityError:
            if wanted.get("owner_id") is None:
                raise
            raise InvalidValue("The owner is not a user who is there.") from None

    def delete(self, *, by: By = None) -> None:
        """Delete the job with its log, however large that is and whatever its status; this object is then of no use.

        Watchers are told at once, and a worker gets `JobNotFound` at its next report. A log of more than 1,000 events
        is deleted later, by the housekeeping in `serve`; until then the id is taken.

        Args:
            by: Who does it.

        Raises:
            JobNotFound: There is no such job, or it is another by now.
            IntegrityError: A table of the host's refers to it, and forbids it; Django's `ProtectedError` is such a one.

        """
        action = Action.of(ActionKind.DELETE, by)
        delete_job(self.job_id, None if self._attempt is None else self._attempt[0], action)
        self._known = None

    acreate = classmethod(async_twin(create.__func__))  # type: ignore[attr-defined]
    amark_queued = async_twin(mark_queued)
    amark_started = async_twin(mark_started)
    amark_progress = async_twin(mark_progress)
    amark_completed = async_twin(mark_completed)
    amark_failed = async_twin(mark_failed)
    amark_cancelled = async_twin(mark_cancelled)
    arequest_cancel = async_twin(request_cancel)
    amark_cancel_unanswered = async_twin(mark_cancel_unanswered)
    aretry = async_twin(retry)
    alog = async_twin(log)
    aoutput = async_twin(output)
    aedit = async_twin(edit)
    adelete = async_twin(delete)

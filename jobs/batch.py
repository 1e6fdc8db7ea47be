"""Changes of several jobs, written together: one transaction for what all jobs of a worker's process have to report.

The rows of the jobs are locked in the order of their ids. Where somebody else holds a row, or has written since, it is
passed over, and that job is written alone afterwards: it keeps no other from being written.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from . import changes, database, extras
from .batches import batched
from .database import CONFLICTS, UNAVAILABLE, connection_to_write, most_ids, with_retries
from .decisions import Deferred
from .lifecycle import ProcessingJobLifecycle
from .models import ProcessingJob
from .progress_report import Report
from .writes import POSITION, Write, write_all

# What reports change. Nobody writes these columns without a new position, so all may be written as they are known.
REPORTED = frozenset({"progress", "message", "metadata", "updated_at", "seq", "output_bytes"})
# Of PostgreSQL: lock_not_available and query_canceled, by which its timeouts end the wait for a row; and conflicts.
OF_ONE_ROW = CONFLICTS | {"55P03", "57014"}


class Pending(NamedTuple):
    """What is to be written of one job, in order."""

    lifecycle: ProcessingJobLifecycle
    decisions: Sequence[Deferred]


class Plan(NamedTuple):
    """A job's pending changes, decided on the state that its lifecycle knows."""

    number: int  # in the batch
    lifecycle: ProcessingJobLifecycle
    decisions: Sequence[Deferred]
    writes: Sequence[Write]

    @property
    def position(self) -> tuple[Any, ...]:
        """Where the job stood, as `POSITION` has it."""
        before = self.writes[0].before
        return before.pk, before.epoch, before.attempt, before.seq


def progress_decision(
    progress: float | None = None,
    *,
    current: float | None = None,
    total: float | None = None,
    message: str | None = None,
    stage: str | None = None,
    metadata: dict[str, Any] | None = None,
    of_stage: bool = False,
) -> Deferred:
    """Return what `ProcessingJobLifecycle.mark_progress` would write now, to be written later. Speed counts from now.

    Raises:
        InvalidValue: An argument is out of its bounds.

    """
    report = Report.checked(progress, current, total, message, stage, metadata, None, of_stage)
    return Deferred(changes.progressed, {"report": report})


def log_decision(text: str, *, level: str = "info") -> Deferred:
    """Return what `ProcessingJobLifecycle.log` would write, to be written later.

    Raises:
        InvalidValue: The text is out of its bounds, or ``logging`` knows no such level.

    """
    return Deferred(extras.log_line, extras.checked_line(text, level))


def output_decision(text: str, name: str) -> Deferred:
    """Return what `ProcessingJobLifecycle.output` would write, to be written later.

    Raises:
        InvalidValue: An argument is out of its bounds.

    """
    return Deferred(extras.output, extras.checked_output(text, name))


def write_together(batch: Sequence[Pending]) -> list[Exception | None]:
    """Write what is pending of all jobs. Of each job all is written, in order, or nothing.

    A decision is written once, however often it is handed in: what failed may be handed in again, with what came since.

    Within a transaction of the caller's, jobs are written one after another, and the database's errors are raised. What
    was handed in there is written once that has committed, and not before.

    Returns:
        For each job None, or the error by which its changes were not written: what its lifecycle raises, or what the
        database says, which is the same for all jobs if it does not answer. If the connection was lost, the changes may
        be written nevertheless; handed in again, they are not written twice.

    """
    connection = connection_to_write()
    is_within = connection.in_atomic_block
    answers: list[Exception | None] = [None] * len(batch)
    left = {number: pending for number, pending in enumerate(batch) if _due(pending)}
    away: Exception | None = None
    if len(left) > 1 and not is_within:
        try:
            for number in with_retries(partial(_write_known, left)):
                del left[number]
        except Exception as error:  # of one job, or of all
            away = error if _is_of_all(error) else None
    for number, pending in left.items():
        if away is None:
            try:
                if due := _due(pending):  # some may have been found written meanwhile
                    pending.lifecycle.write(due)
            except Exception as error:
                if is_within and isinstance(error, Error):
                    raise
                answers[number] = error
                away = error if _is_of_all(error) else None
        else:
            answers[number] = away
    return answers


def _due(pending: Pending) -> list[Deferred]:
    """Return what is not known to be written."""
    return [decision for decision in pending.decisions if not decision.is_written]


def _write_known(left: dict[int, Pending], connection: BaseDatabaseWrapper) -> Collection[int]:
    """Write all jobs that stand where they are known, in one transaction; return which."""
    # Where a job comes twice, its first.
    plans = {plan.lifecycle.job_id: plan for plan in reversed([*_plans(left, connection)])}
    if not plans:
        return []
    driver_connection = connection.connection
    held: list[Plan] = []
    try:
        with transaction.atomic(using=connection.alias):
            held += _held(plans, connection)
            if held:
                written = write_all(connection, [plan.writes for plan in held])
                assert written, "the rows are locked"
                for plan in held:
                    plan.lifecycle.once_committed(connection, plan.decisions, plan.writes)
    except Error:
        if held and database.is_lost(connection, driver_connection):
            for plan in held:
                plan.lifecycle.lost(plan.decisions, plan.writes)
        raise
    for plan in held:
        plan.lifecycle.count_in(plan.writes)
    return [plan.number for plan in held]


def _plans(left: dict[int, Pending], connection: BaseDatabaseWrapper) -> Iterator[Plan]:
    """Decide, before any row is locked, on what lifecycles know; leave out what the row itself has to decide."""
    for number, pending in left.items():
        decisions = _due(pending)
        writes = pending.lifecycle.planned(connection, decisions)
        if writes and all(REPORTED.issuperset(write.fields) for write in writes):
            yield Plan(number, pending.lifecycle, decisions, writes)


def _held(plans: dict[str, Plan], connection: BaseDatabaseWrapper) -> Iterator[Plan]:
    """Lock rows, in the order of their ids; yield the plans of those that were free and stand where they were."""
    features = connection.features
    free = ProcessingJob.objects.using(connection.alias).select_for_update(
        skip_locked=features.has_select_for_update_skip_locked, no_key=features.has_select_for_no_key_update
    )
    for ids in batched(sorted(plans), most_ids(connection.alias)):
        for position in free.filter(pk__in=ids).order_by("pk").values_list(*POSITION):
            if plans[position[0]].position == position:
                yield plans[position[0]]


def _is_of_all(error: Exception) -> bool:
    """Return whether an error says that the database does not answer, rather than that a row is locked."""
    return isinstance(error, UNAVAILABLE) and getattr(error.__cause__, "sqlstate", None) not in OF_ONE_ROW

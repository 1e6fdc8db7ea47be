"""Looks for workers that are lost, shows their jobs as stalled, and does later what their kinds' options say.

Any process may look, and several at once: what is done is decided on under the worker's row, and the job's.

A worker is lost once every look of some seconds has found it late, each of which has written that down. So a worker
that could not write, since nobody could, gets its chance before it is called lost: whoever looks could not write
either, and where two looks are far apart, the time begins anew.
"""

import logging
import time
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, DateTimeField, Exists, F, OuterRef, Q, QuerySet, When
from django.db.models.functions import Now

from .. import children
from ..database import UNAVAILABLE, jobs_as_written, with_retries
from ..leases import Worker
from ..locked import locked, write_decided
from ..models import ProcessingJob, ProcessingJobQuerySet
from ..signals import job_requeued
from ..states import Status
from .decisions import decided, is_due, is_left
from .worker_lease import MOST, TTL_SECONDS, lives

logger = logging.getLogger(__name__)

_told_again_at = float("-inf")  # by this process, by the monotonic clock

LOOK_SECONDS = 3.0  # between two looks
LATE_LOOK_SECONDS = 1.0  # the same, while a worker is late
GAP_SECONDS = 7.0  # between two looks at most; after more, nobody knows whether the worker could have written
LATE_SECONDS = 9.0  # for which looks have found a worker late that is lost: it had time for another renewal
GRACE_SECONDS = 20.0  # for which jobs are shown as stalled before anything is done
TELL_AGAIN_SECONDS = 10.0  # after which those who have queues are told again
KEEP_SECONDS = 600.0  # after which the row of a worker goes that has left no job


class Look(NamedTuple):
    """What a look has found and done."""

    seconds: float  # until the next
    late: int  # workers that are late, about whose jobs there is something to be done, now or later
    written: int  # jobs that were shown as stalled, queued anew or ended


def look() -> Look:
    """Look once, and do what is due.

    Raises:
        OperationalError: The database does not answer.

    """
    found = with_retries(lambda _: list(jobs_in_need()))
    if any(status == Status.QUEUED for _, status in found):
        _tell_again()
    ids = sorted({worker_id for worker_id, status in found if status == Status.IN_PROGRESS})
    if not ids:
        return Look(LOOK_SECONDS, 0, 0)
    workers = with_retries(partial(_write_down, ids))
    written = [_recover(worker) for worker in workers if _late_for(worker) >= LATE_SECONDS]
    has_more = any(number >= MOST for number in written)
    return Look(0.0 if has_more else LATE_LOOK_SECONDS, len(workers), sum(written))


def forget() -> None:
    """Delete the rows of workers that are gone and have left no job."""

    def delete(connection: BaseDatabaseWrapper) -> None:
        left = ProcessingJob.stored.using(connection.alias).filter(worker=OuterRef("pk"))
        gone = Worker.objects.using(connection.alias).filter(until__lt=Now() - timedelta(seconds=KEEP_SECONDS))
        gone.exclude(Exists(left)).delete()

    with_retries(delete)


def jobs_in_need() -> "QuerySet[ProcessingJob, tuple[str, str]]":
    """Return the workers of jobs about which something is to be done, with the statuses of those.

    That is a worker that is late, or whose row is lost; and one whose job is queued anew, of which nobody was told.
    """
    jobs = jobs_as_written()
    needless = Worker.objects.using(jobs.db).filter(lives() | Q(is_settled=True), pk=OuterRef("worker"))
    # That it is in progress is not asked here: PostgreSQL might look through an index of all jobs for that.
    jobs = jobs.filter(Q(status=Status.QUEUED) | ~Exists(needless), worker__isnull=False)
    return jobs.order_by().values_list("worker_id", "status").distinct()


def _write_down(worker_ids: list[str], connection: BaseDatabaseWrapper) -> list[Worker]:
    """Write down that workers are late, if they still are; return these. A row that is lost is made again."""
    workers = Worker.objects.using(connection.alias).filter(pk__in=worker_ids)
    in_a_row = Q(late_at__gt=Now() - timedelta(seconds=GAP_SECONDS), late_at__lte=Now())
    since = Case(When(in_a_row, then=F("late_since")), default=Now(), output_field=DateTimeField())
    with transaction.atomic(using=connection.alias):
        missing = [Worker(pk=pk, until=Now(), late_since=Now(), late_at=Now()) for pk in worker_ids]
        Worker.objects.using(connection.alias).bulk_create(missing, ignore_conflicts=True)
        workers.exclude(lives()).update(late_since=since, late_at=Now())
        return list(workers.filter(late_since__isnull=False).order_by("pk"))


def _late_for(worker: Worker) -> float:
    """Return for how many seconds looks have found it late."""
    if worker.late_at is None or worker.late_since is None:
        return 0.0
    return (worker.late_at - worker.late_since).total_seconds()


def _recover(worker: Worker) -> int:
    """Do what is due about the jobs of a worker that is lost; return about how many something was done."""
    jobs = jobs_as_written().filter(worker=worker.pk, status=Status.IN_PROGRESS).order_by("pk")
    try:
        marks = list(jobs.values_list("pk", "metadata"))
        due = [pk for pk, metadata in marks if is_due(metadata, _moment(worker))][:MOST]
        is_settled = all(is_left(metadata) for _, metadata in marks)
    except UNAVAILABLE:
        raise
    except Exception:  # of a row, which is found below
        due, is_settled = list(jobs.values_list("pk", flat=True)), False
    if is_settled:
        with_retries(partial(_settle, worker))
        return 0
    return _decide(worker, due)


def _decide(worker: Worker, job_ids: list[str]) -> int:
    try:
        return with_retries(partial(_write, worker, job_ids))
    except UNAVAILABLE:
        raise
    except Exception as error:  # whatever is wrong with a row, it harms its own job only
        if len(job_ids) > 1:
            return sum(_decide(worker, [job_id]) for job_id in job_ids)
        logger.warning("The worker of job %s is lost, and nothing can be done about that: %r", job_ids[0], error)
        jobs_as_written().filter(pk=job_ids[0], worker=worker.pk).update(worker=None)  # it is not tried for ever
        return 1


def _write(worker: Worker, job_ids: Collection[str], connection: BaseDatabaseWrapper) -> int:
    """Decide on jobs and write that, while the worker can't come back: it comes before, or after all of it."""
    now = _moment(worker)
    with transaction.atomic(using=connection.alias):
        if not _is_lost(worker, connection):
            return 0
        jobs = locked(connection, job_ids, waits=False).values()
        of_worker = [job for job in jobs if job.worker_id == worker.pk and job.status == Status.IN_PROGRESS]
        since = worker.until - timedelta(seconds=TTL_SECONDS)
        writes = write_decided(connection, of_worker, partial(decided, since=since, now=now, grace=GRACE_SECONDS))
        for write in writes:
            children.tell_parents(connection, write.before, write.after)
            if write.after.status == Status.QUEUED:
                connection.on_commit(partial(_tell, write.after), robust=True)
    return len(writes)


def _is_lost(worker: Worker, connection: BaseDatabaseWrapper) -> bool:
    """Lock a worker's row; return whether it is lost as before. If somebody else has locked it, it is not known."""
    features = connection.features
    rows = Worker.objects.using(connection.alias).filter(pk=worker.pk)
    present = rows.select_for_update(skip_locked=features.has_select_for_update_skip_locked).first()
    return present is not None and present.late_since == worker.late_since


def _settle(worker: Worker, connection: BaseDatabaseWrapper) -> None:
    """Look no more at a worker about whose jobs all is done: they are marked as left, or there is none."""
    with transaction.atomic(using=connection.alias):
        if _is_lost(worker, connection):
            Worker.objects.using(connection.alias).filter(pk=worker.pk).update(is_settled=True)


def _moment(worker: Worker) -> datetime:
    """Return when a late worker was looked at, by the database's clock."""
    assert worker.late_at is not None
    return worker.late_at


# Those who have queues


def _tell_again() -> None:
    """Tell of jobs that were queued anew a while ago, and of which nobody who could run them was told."""
    global _told_again_at
    if time.monotonic() - _told_again_at < TELL_AGAIN_SECONDS:
        return
    for job in _untold()[:MOST]:
        _tell(job)
        _told_again_at = time.monotonic()


def _untold() -> ProcessingJobQuerySet:
    before = Now() - timedelta(seconds=TELL_AGAIN_SECONDS)
    return jobs_as_written().filter(worker__isnull=False, status=Status.QUEUED, status_changed_at__lte=before)


def _tell(job: ProcessingJob) -> None:
    """Tell of a job that is queued anew; if that fails, it is done again."""
    answers = job_requeued.send_robust(sender=ProcessingJob, job=job)
    failed = [answer for _, answer in answers if isinstance(answer, Exception)]
    if failed:
        logger.warning("Job %s is queued again, and it could not be told to whom runs it: %r", job.pk, failed[0])
        return
    if not answers:
        logger.warning("Job %s is queued again, and nobody listens to job_requeued who would run it.", job.pk)
    jobs = jobs_as_written().filter(pk=job.pk, attempt=job.attempt, status=Status.QUEUED)
    with_retries(lambda _: jobs.update(worker=None))

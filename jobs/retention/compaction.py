"""An ended job's log, compacted: its ticks go, and a curve of each attempt stays.

Safe to run anywhere, at any time, twice at once, and to be killed: the curves and the floor are committed before the
first row goes, and whatever is below the floor nobody reads any more.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterator
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Exists

from .. import database
from ..database import UNAVAILABLE, database_alias, jobs_as_written, with_retries
from ..models import JobRun, ProcessingJob, ProcessingJobQuerySet
from ..number_settings import number_setting
from ..states import TERMINAL
from .curve import MAX_POINTS
from .deletion import UNREAD
from .runs import Log, Run, course, earlier_runs, first_and_last_tick, log_of, present_run, ticks_of

logger = logging.getLogger(__name__)

COMPACT_SECONDS = 600.0  # unless ``JOBS_COMPACT_SECONDS`` says otherwise: who was away for a moment still gets a replay
BATCH = 2_000  # rows deleted by one statement: 2 ms for which SQLite takes no other writer
WIDEST = 16 * BATCH  # positions looked at for them
RUNS = 50  # attempts whose courses are read at one step
PAUSE_SECONDS = 0.003  # after a batch, or as long as it took: on SQLite, others get their turn in it
PUT_OFF = timedelta(days=1)  # for what can't be compacted

Steps = Generator[int, None, bool]
Pause = Callable[[float], Any]  # waits so many seconds; returns true to have the work ended


compact_seconds = number_setting("JOBS_COMPACT_SECONDS", COMPACT_SECONDS, 0, 31_536_000, "jobs.E006")


def due_jobs() -> ProcessingJobQuerySet:
    """Return the jobs whose logs are to be compacted by now, those that ended first before others."""
    latest = with_retries(database.now) - timedelta(seconds=compact_seconds())
    return jobs_as_written().filter(compact_after__lte=latest, status__in=TERMINAL).order_by("compact_after")


def compact_due(most: int = 100) -> Iterator[int]:
    """Compact the logs of jobs that ended long enough ago, a batch at each step.

    The caller pauses between two, and may give it up there.

    Args:
        most: How many jobs are looked at.

    Raises:
        OperationalError: The database does not answer.

    """
    for job_id in list(due_jobs().values_list("pk", flat=True)[:most]):
        try:
            yield from compacting(job_id)
        except UNAVAILABLE:
            raise
        except Exception as error:  # whatever is wrong with a row, it harms its own job only
            logger.warning("The log of job %s can't be compacted: %r", job_id, error)
            jobs_as_written().filter(pk=job_id).update(compact_after=with_retries(database.now) + PUT_OFF)


def compact(job_id: str, *, pause: Pause = time.sleep) -> bool:
    """Compact the log of a job that has ended, however long ago.

    Args:
        job_id: The job.
        pause: Called after each batch with the seconds to wait; if it returns true, what is left is for another time.

    Returns:
        Whether that is done; not if there is no such job, it was retried meanwhile, or ``pause`` has ended it.

    """
    steps = compacting(job_id)
    while True:
        began = time.monotonic()
        try:
            next(steps)
        except StopIteration as end:
            return bool(end.value)
        if pause(max(PAUSE_SECONDS, time.monotonic() - began)):
            return False


def compacting(job_id: str) -> Steps:
    """Compact the log of a job that has ended, a batch at each step; it may be given up between two.

    Yields:
        How many rows were deleted; none while the courses of many attempts are read.

    Returns:
        Whether it was done; not if there is no such job, or it was retried meanwhile.

    """
    job = jobs_as_written().filter(pk=job_id, status__in=TERMINAL).defer(*UNREAD).first()
    if job is None:
        return False
    log, recorded = log_of(job, database_alias()), _recorded(job)
    if job.attempt in recorded or _has_many_ticks(log):
        made, kept = list[JobRun](), set[int]()
        for number, run in enumerate([*earlier_runs(job, log), present_run(job)], 1):
            if run.attempt not in recorded:
                made.append(_record_of(job, run, log))
            kept.update(first_and_last_tick(log, run))
            if number % RUNS == 0:
                yield 0
        if not _raise_floor(job, made):
            return False
        yield from _delete_ticks(job, log, kept)
    # A retry has cleared it already, and another end has set another time.
    jobs_as_written().filter(pk=job.pk, attempt=job.attempt, compact_after=job.compact_after).update(compact_after=None)
    return True


def _has_many_ticks(log: Log) -> bool:
    """Return whether rows are saved by compacting it: a few ticks are as small as the curve would be."""
    return ticks_of(log)[: MAX_POINTS + 1].count() > MAX_POINTS


def _recorded(job: ProcessingJob) -> set[int]:
    return set(JobRun.objects.using(database_alias()).filter(job_id=job.pk).values_list("attempt", flat=True))


def _record_of(job: ProcessingJob, run: Run, log: Log) -> JobRun:
    times = {"started_at": run.started_at, "finished_at": run.finished_at}
    return JobRun(job_id=job.pk, attempt=run.attempt, outcome=run.outcome, curve=course(log, run), **times)


def _raise_floor(job: ProcessingJob, made: list[JobRun]) -> bool:
    """Record the course of each attempt and move the floor to the end of the log, unless the job was retried.

    A run that is recorded stays as it is: it was made of what is gone by now.
    """

    def record(connection: BaseDatabaseWrapper) -> bool:
        same = jobs_as_written().filter(pk=job.pk, epoch=job.epoch, attempt=job.attempt, status__in=TERMINAL)
        with transaction.atomic(using=connection.alias):
            is_same = bool(same.filter(floor__lte=job.seq).update(floor=job.seq))
            if is_same:
                JobRun.objects.using(connection.alias).bulk_create(made, ignore_conflicts=True)
        return is_same

    return with_retries(record)


def _delete_ticks(job: ProcessingJob, log: Log, kept: set[int]) -> Iterator[int]:
    """Delete the ticks below the floor but for some; yield how many each batch was.

    A batch is a range of positions, which grows where a trim has left little, after a look at what there is.
    """
    after, width = 0, BATCH
    while after < job.seq:
        upto = min(after + width, job.seq)
        if width > BATCH:
            found = _ticks_between(log, after, upto).order_by("seq").values_list("seq", flat=True)[:BATCH]
            upto = found[BATCH - 1] if len(found) == BATCH else upto
        deleted = _delete(job, _ticks_between(log, after, upto), upto, [seq for seq in kept if after < seq <= upto])
        width = BATCH if deleted > BATCH // 2 else min(2 * width, WIDEST)
        if deleted:
            yield deleted
        after = upto


def _ticks_between(log: Log, after: int, upto: int) -> Log:
    return ticks_of(log).filter(seq__gt=after, seq__lte=upto)


def _delete(job: ProcessingJob, ticks: Log, upto: int, kept: list[int]) -> int:
    """Delete ticks of a stream whose floor is above them; return how many.

    That is asked by the same statement: a job of the same id that was made meanwhile has a log of its own.
    """
    below_floor = Exists(jobs_as_written().filter(pk=job.pk, epoch=job.epoch, floor__gte=upto))
    deleted, _ = ticks.filter(below_floor).exclude(seq__in=kept).delete()
    return deleted

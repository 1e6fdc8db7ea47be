"""A running job's log, trimmed by the one who writes it: no watcher needs what lies far behind.

It holds with no server running, and takes no query that looks for long jobs.
"""

import logging

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..database import connection_to_write
from ..models import ProcessingJob
from ..number_settings import number_setting
from .curve import stride
from .runs import Log, Run, earlier_runs, log_of, present_run, superseded

logger = logging.getLogger(__name__)

LOG_TAIL = 6_000  # unless ``JOBS_LOG_TAIL`` says otherwise: the 5,000 events that a client may be behind, and a margin
TRIM_EVERY = 500  # events
MOST_AT_ONCE = 2_000  # events that the floor moves, so that a job which was never trimmed is caught up with in steps


log_tail = number_setting("JOBS_LOG_TAIL", LOG_TAIL, 1_000, 10_000_000, "jobs.E005")


def trim(job: ProcessingJob) -> None:
    """Trim the log of a job that stands where it was just committed. A failure is logged; the next trim makes up.

    Nothing is done within a transaction of the caller's, which would hold the locks until its end.
    """
    connection, tail = connection_to_write(), log_tail()
    if job.seq <= tail or connection.in_atomic_block:
        return
    try:
        _trim(connection, job, tail)
    except Exception as error:  # the report that brought it here is written, and must not fail for this
        logger.warning("The log of job %s was not trimmed: %s", job.pk, error)


def _trim(connection: BaseDatabaseWrapper, job: ProcessingJob, tail: int) -> None:
    """Move the floor, and delete superseded ticks below it: in one transaction, so that a read sees both or neither."""
    row = ProcessingJob.objects.using(connection.alias).filter(pk=job.pk, epoch=job.epoch)
    log = log_of(job, connection.alias)
    with transaction.atomic(using=connection.alias):
        floor = row.select_for_update().values_list("floor", flat=True).first()
        if floor is None or floor >= job.seq - tail:
            return
        upto = min(job.seq - tail, floor + MOST_AT_ONCE)
        row.update(floor=upto)
        run = present_run(job)
        if floor < run.after:
            for earlier in earlier_runs(job, log):
                if earlier.upto > floor:
                    _leave_candidates(log, earlier, after=floor, upto=upto)
        # Where the attempt has outgrown its stride, what earlier trims have left is too much by half.
        has_grown = stride(run.after, job.seq) > stride(run.after, floor + tail)
        _leave_candidates(log, run, after=run.after if has_grown else floor, upto=upto)


def _leave_candidates(log: Log, run: Run, *, after: int, upto: int) -> None:
    superseded(log, run, after=after, upto=upto, stride=stride(run.after, run.upto)).delete()

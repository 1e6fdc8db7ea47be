"""Deletion of jobs, however large: at once for everybody who asks, from the disk in batches.

A job of few events goes in one transaction. One of many is marked in it: it has no manager, stream or attempt any more,
so that every answer about it is that there is no such job, its worker's as well. Its rows go later, a batch at a time.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Exists, Model, QuerySet
from django.db.models.deletion import Collector
from django.db.models.signals import post_delete

from .. import database
from ..actions import Action
from ..database import with_retries
from ..exceptions import JobNotFound
from ..ids import birth, new_epoch
from ..models import JobEvent, ProcessingJob
from ..signals import job_deleted

AT_ONCE = 1_000  # events that are deleted in one transaction, with their jobs
# Events in a batch. PostgreSQL locks no other writer out; SQLite's file is locked for about 1 ms.
BATCH_EVENTS = {"postgresql": 5_000}
DEFAULT_BATCH_EVENTS = 1_000
# Of a job that is deleted: what an import has stored there may be more than Python takes. All else is read beforehand,
# since whoever listens to deletions can't read it when the row is gone.
UNREAD = ("plan", "usual", "metadata", "result")


class JobCollector(Collector):
    """What goes with some jobs, as Django finds it, and their events in one statement.

    Django would load them all if anybody listens to deletions of whatever model.
    """

    def can_fast_delete(self, objs: Any, from_field: Any = None) -> bool:
        """Return whether rows are deleted without being loaded."""
        return getattr(objs, "model", objs) is JobEvent or super().can_fast_delete(objs, from_field)

    def others(self) -> dict[type[Model], int]:
        """Return how many rows of other tables go as well, by model."""
        found = {model: len(rows) for model, rows in self.data.items() if model is not ProcessingJob}
        for rows in self.fast_deletes:
            if rows.model is not JobEvent:
                found[rows.model] = found.get(rows.model, 0) + rows.count()
        return {model: number for model, number in found.items() if number}


def collected(alias: str, jobs: Any) -> JobCollector:
    """Return all that goes with these jobs.

    Raises:
        ProtectedError: Another table refers to one of them, and forbids it.
        RestrictedError: Likewise.

    """
    collector = JobCollector(using=alias)
    collector.collect(jobs)
    return collector


def delete_job(job_id: str, born: str | None, action: Action) -> None:
    """Delete a job; from the commit on there is none.

    Args:
        job_id: Its id.
        born: The `birth` of its epoch, if that is known: a later job of the same id is another.
        action: Who does it, which is kept in the same transaction, with the job's name.

    Raises:
        JobNotFound: There is no such job.
        ProtectedError: Another table refers to it, and forbids it.

    """
    was_sent = False

    def delete_once(connection: BaseDatabaseWrapper) -> None:
        nonlocal was_sent, born
        with transaction.atomic(using=connection.alias):
            stored = ProcessingJob.objects.using(connection.alias).filter(pk=job_id)
            job = stored.defer(*UNREAD).select_for_update().first()
            if job is None or born not in (None, birth(job.epoch)):
                if not was_sent:
                    raise JobNotFound(job_id)
                connection.on_commit(partial(announce, job_id))  # it was committed before the connection was lost
                return
            action._replace(detail=job.name).record(connection, job, job, database.now(connection))
            born = birth(job.epoch)
            delete_locked(connection, [job])
            was_sent = True

    with_retries(delete_once)


def delete_locked(
    connection: BaseDatabaseWrapper, jobs: Sequence[ProcessingJob], prepared: JobCollector | None = None
) -> None:
    """Delete jobs that the open transaction has locked: together if they have few events, else the only one is marked.

    Args:
        connection: Where the transaction is open.
        jobs: One job, or several that have few events together.
        prepared: What was collected of them before the transaction, which is the shorter for it.

    """
    doomed = prepared or collected(connection.alias, jobs)  # what forbids it, forbids it now
    if len(jobs) == 1 and size(connection, jobs[0]) > AT_ONCE:
        marked = {"deleted_at": database.now(connection), "epoch": new_epoch()}
        ProcessingJob.objects.using(connection.alias).filter(pk=jobs[0].pk).update(**marked)
        connection.on_commit(partial(announce, jobs[0].pk), robust=True)
    else:
        doomed.delete()


def size(connection: BaseDatabaseWrapper, job: ProcessingJob) -> int:
    """Return how many events a job has, or one more than are deleted at once; read from the log only if need be."""
    if job.seq <= AT_ONCE:
        return job.seq
    log = JobEvent.objects.using(connection.alias).filter(job_id=job.pk)
    return log.order_by("seq")[: AT_ONCE + 1].count()


# What is left


def left(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the ids of jobs that are marked as deleted, the first first."""
    marked = ProcessingJob.stored.using(connection.alias).filter(deleted_at__isnull=False)
    return list(marked.order_by("deleted_at").values_list("pk", flat=True))


def delete_left(connection: BaseDatabaseWrapper, job_id: str) -> Iterator[int]:
    """Delete what is left of a marked job, its row at last; yield the number of events after each batch.

    That it is marked is asked by each statement: another process may have finished it, and the id may be in use again.
    """
    events = BATCH_EVENTS.get(connection.vendor, DEFAULT_BATCH_EVENTS)
    log = JobEvent.objects.using(connection.alias).filter(Exists(_marked(connection, job_id)), job_id=job_id)
    log = log.order_by("seq")
    while (last := log.values_list("seq", flat=True)[events - 1 : events].first()) is not None:
        with_retries(partial(_delete_events, log.order_by().filter(seq__lte=last)))
        yield events
        log = log.filter(seq__gt=last)  # or PostgreSQL would pass over what was deleted, again and again
    yield with_retries(partial(_delete_row, job_id))


def _delete_events(events: "QuerySet[JobEvent]", connection: BaseDatabaseWrapper) -> None:
    events._raw_delete(connection.alias)  # without loading them, whatever listens


def _delete_row(job_id: str, connection: BaseDatabaseWrapper) -> int:
    """Delete a marked job's row, and the last of its events."""
    with transaction.atomic(using=connection.alias):
        marked = _marked(connection, job_id).defer(*UNREAD).select_for_update()
        _, rows = collected(connection.alias, list(marked)).delete()
    return rows.get(JobEvent._meta.label, 0)


def _marked(connection: BaseDatabaseWrapper, job_id: str) -> "QuerySet[ProcessingJob]":
    return ProcessingJob.stored.using(connection.alias).filter(pk=job_id, deleted_at__isnull=False)


# Who is told


def announce(job_id: str) -> None:
    """Tell whoever listens that a job is gone."""
    job_deleted.send_robust(sender=ProcessingJob, job_id=job_id)


def _on_delete(instance: ProcessingJob, using: str, **_: Any) -> None:
    """Tell of a job whose row is deleted, by whomever; of one that was marked, that is known."""
    if instance.__dict__.get("deleted_at") is None:  # if it was not read before, it can't be any more
        connections[using].on_commit(partial(announce, instance.pk), robust=True)


def listen() -> None:
    """Hear of rows that Django deletes, from here on."""
    post_delete.connect(_on_delete, sender=ProcessingJob, dispatch_uid=f"{__name__}.listen")

"""Writes a decided change: the job's row, the event in its log, the word to those who watch. For the lifecycle only."""

from datetime import datetime
from functools import partial
from typing import Any

from django.db import router, transaction
from django.utils import timezone

from jobs.changes import Change
from jobs.events import Event
from jobs.models import JobEvent, ProcessingJob
from jobs.signals import job_event_committed
from jobs.states import EventKind


def database_alias() -> str:
    """Return the alias of the database that jobs are written to."""
    return router.db_for_write(ProcessingJob)


def apply(job: ProcessingJob, change: Change, *, expected: int) -> ProcessingJob | None:
    """Write a change at the position after ``expected``; return the job after it, or None if the position moved."""
    now = timezone.now()
    fields = {**change.fields_at(now), "seq": expected + 1}
    at_position = ProcessingJob.objects.filter(pk=job.pk, epoch=job.epoch, seq=expected)
    if not at_position.update(**fields):
        return None
    after = _copy(job, fields)
    append(after, change, now)
    return after


def _copy(job: ProcessingJob, fields: dict[str, Any]) -> ProcessingJob:
    """Return the job with other values: the known state stays as it is until the change has committed."""
    after = ProcessingJob.__new__(ProcessingJob)
    after.__dict__.update(job.__dict__)
    after.__dict__.update(fields)
    return after


def append(job: ProcessingJob, change: Change, now: datetime) -> None:
    """Log the change that brought the job where it is, and tell of it once the transaction commits."""
    row = JobEvent(
        job_id=job.pk,
        seq=job.seq,
        kind=change.kind,
        status=job.status,
        progress=job.progress,
        message=job.message if change.kind is not EventKind.LOG else change.text,
        metadata=job.metadata if change.kind is not EventKind.LOG else {"level": change.level},
        timestamp=now,
    )
    row.save(force_insert=True)
    event = row.as_event(job.epoch)
    transaction.on_commit(partial(_tell, event), using=database_alias(), robust=True)


def _tell(event: Event) -> None:
    job_event_committed.send_robust(sender=ProcessingJob, event=event)

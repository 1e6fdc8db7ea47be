"""Writes a decided change: the job's row, the event in its log, the word to those who watch. For the lifecycle only."""

from datetime import datetime
from functools import cache, partial
from typing import Any

from django.db import connections, models, router, transaction
from django.utils import timezone

from jobs.changes import Change
from jobs.events import Event
from jobs.models import JobEvent, ProcessingJob
from jobs.signals import job_event_committed
from jobs.states import EventKind

EVENT_FIELDS = ("job", "seq", "kind", "status", "progress", "message", "metadata", "timestamp")


def database_alias() -> str:
    """Return the alias of the database that jobs are written to."""
    return router.db_for_write(ProcessingJob)


def apply(job: ProcessingJob, change: Change, *, expected: int) -> ProcessingJob | None:
    """Write a change at the position after ``expected``; return the job after it, or None if the position moved."""
    now = timezone.now()
    fields = {**change.fields_at(now), "seq": expected + 1}
    if not _update(job, fields, expected):
        return None
    after = _copy(job, fields)
    append(after, change, now)
    return after


def append(job: ProcessingJob, change: Change, now: datetime) -> None:
    """Log the change that brought the job where it is, and tell of it once the transaction commits."""
    is_log = change.kind is EventKind.LOG
    event = Event(
        job_id=job.pk,
        epoch=job.epoch,
        seq=job.seq,
        kind=change.kind,
        status=job.status,
        progress=job.progress,
        message=change.text if is_log else job.message,
        metadata={"level": change.level} if is_log else job.metadata,
        timestamp=now,
    )
    alias = database_alias()
    values = (
        event.job_id,
        event.seq,
        event.kind,
        event.status,
        event.progress,
        event.message,
        event.metadata,
        event.timestamp,
    )
    _execute(alias, _insert_statement(alias), JobEvent, EVENT_FIELDS, values)
    transaction.on_commit(partial(_tell, event), using=alias, robust=True)


def _tell(event: Event) -> None:
    job_event_committed.send_robust(sender=ProcessingJob, event=event)


def _copy(job: ProcessingJob, fields: dict[str, Any]) -> ProcessingJob:
    """Return the job with other values: the known state stays as it is until the change has committed."""
    after = ProcessingJob.__new__(ProcessingJob)
    after.__dict__.update(job.__dict__)
    after.__dict__.update(fields)
    return after


# The two statements. Django would compile the same SQL anew for each event, which takes several times
# as long as running it (benchmarks/write_path.py); so it is compiled once for each set of columns.


def _update(job: ProcessingJob, fields: dict[str, Any], expected: int) -> bool:
    """Update the job's row if it stands at ``expected``; return whether it did."""
    alias = database_alias()
    names = tuple(fields)
    values = (*fields.values(), job.pk, job.epoch, expected)
    changed = _execute(alias, _update_statement(alias, names), ProcessingJob, (*names, "id", "epoch", "seq"), values)
    return changed == 1


def _execute(
    alias: str, statement: str, model: type[models.Model], names: tuple[str, ...], values: tuple[Any, ...]
) -> int:
    """Run a statement with values as the fields of a model store them; return how many rows it changed."""
    connection = connections[alias]
    fields = _fields(model, names)
    prepared = [field.get_db_prep_save(value, connection) for field, value in zip(fields, values, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(statement, prepared)
        rows: int = cursor.rowcount
    return rows


@cache
def _fields(model: type[models.Model], names: tuple[str, ...]) -> "tuple[models.Field[Any, Any], ...]":
    return tuple(model._meta.get_field(name) for name in names)  # type: ignore[misc]  # none is a relation from afar


@cache
def _update_statement(alias: str, names: tuple[str, ...]) -> str:
    table, columns = _quoted(alias, ProcessingJob, (*names, "id", "epoch", "seq"))
    places = [f"{column} = %s" for column in columns]
    return f"UPDATE {table} SET {', '.join(places[:-3])} WHERE {' AND '.join(places[-3:])}"  # noqa: S608  (our own names)


@cache
def _insert_statement(alias: str) -> str:
    table, columns = _quoted(alias, JobEvent, EVENT_FIELDS)
    places = ["%s"] * len(columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(places)})"  # noqa: S608  (our own names)


def _quoted(alias: str, model: type[models.Model], names: tuple[str, ...]) -> tuple[str, list[str]]:
    quote = connections[alias].ops.quote_name
    return quote(model._meta.db_table), [quote(str(field.column)) for field in _fields(model, names)]

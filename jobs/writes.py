"""Writes a decided change: the job's row, the event in its log, the word to those who watch. For the lifecycle only."""

from datetime import datetime
from functools import cache, partial
from typing import Any

from django.db import connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from jobs.changes import Change
from jobs.events import Event
from jobs.models import JobEvent, ProcessingJob
from jobs.signals import job_event_committed
from jobs.states import EventKind

POSITION = ("id", "epoch", "seq")  # what an update finds the job by
EVENT_FIELDS = ("job", "seq", "kind", "status", "progress", "message", "metadata", "timestamp")


def connection_to_write() -> BaseDatabaseWrapper:
    """Return this thread's connection to the database that jobs are written to."""
    connection: BaseDatabaseWrapper = connections[router.db_for_write(ProcessingJob)]
    return connection


def apply(
    connection: BaseDatabaseWrapper, job: ProcessingJob, change: Change, *, expected: int
) -> ProcessingJob | None:
    """Write a change at the position after ``expected``, within a transaction, and tell of it after the commit.

    Returns:
        The job after it, or None if the position has moved.

    """
    now = timezone.now()
    fields = {**change.fields_at(now), "seq": expected + 1}
    if not _update(connection, job, fields, expected):
        return None
    after = _copy(job, fields)
    append(connection, after, change, now)
    return after


def apply_at_once(
    connection: BaseDatabaseWrapper, job: ProcessingJob, change: Change, *, expected: int
) -> tuple[ProcessingJob, Event] | None:
    """Write a change as `apply` does, in one statement that is a transaction of its own, and tell nobody.

    Returns:
        The job after it and the event to `tell`; or None if the position has moved.

    """
    now = timezone.now()
    fields = {**change.fields_at(now), "seq": expected + 1}
    after = _copy(job, fields)
    event = _event(after, change, now)
    names = tuple(fields)
    prepared = [
        *_prepared(connection, ProcessingJob, (*names, *POSITION), (*fields.values(), job.pk, job.epoch, expected)),
        *_prepared(connection, JobEvent, EVENT_FIELDS, _values(event)),
    ]
    return (after, event) if _execute(connection, _single_statement(connection.alias, names), prepared) == 1 else None


def can_apply_at_once(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether the database takes an update and an insert in one statement: four round trips become one."""
    return connection.vendor == "postgresql" and connection.get_autocommit()


def append(connection: BaseDatabaseWrapper, job: ProcessingJob, change: Change, now: datetime) -> None:
    """Log the change that brought the job where it is, and tell of it once the transaction commits."""
    event = _event(job, change, now)
    prepared = _prepared(connection, JobEvent, EVENT_FIELDS, _values(event))
    _execute(connection, _insert_statement(connection.alias), prepared)
    connection.on_commit(partial(tell, event), robust=True)


def tell(event: Event) -> None:
    """Tell of a committed event."""
    job_event_committed.send_robust(sender=ProcessingJob, event=event)


def _event(job: ProcessingJob, change: Change, now: datetime) -> Event:
    """Return the event of the change that brought the job where it is."""
    is_log = change.kind is EventKind.LOG
    return Event(
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


def _values(event: Event) -> tuple[Any, ...]:
    """Return an event as a row of the log, in the order of `EVENT_FIELDS`."""
    shown = event.status, event.progress, event.message, event.metadata
    return event.job_id, event.seq, event.kind, *shown, event.timestamp


def _copy(job: ProcessingJob, fields: dict[str, Any]) -> ProcessingJob:
    """Return the job with other values: the known state stays as it is until the change has committed."""
    after = ProcessingJob.__new__(ProcessingJob)
    after.__dict__.update(job.__dict__)
    after.__dict__.update(fields)
    return after


# The statements. Django would compile the same SQL anew for each event, which takes several times
# as long as running it (benchmarks/write_path.py); so it is compiled once for each set of columns.


def _update(connection: BaseDatabaseWrapper, job: ProcessingJob, fields: dict[str, Any], expected: int) -> bool:
    """Update the job's row if it stands at ``expected``; return whether it did."""
    names = tuple(fields)
    values = (*fields.values(), job.pk, job.epoch, expected)
    prepared = _prepared(connection, ProcessingJob, (*names, *POSITION), values)
    return _execute(connection, _update_statement(connection.alias, names), prepared) == 1


def _execute(connection: BaseDatabaseWrapper, statement: str, prepared: list[Any]) -> int:
    """Run a statement; return how many rows it changed."""
    with connection.cursor() as cursor:
        cursor.execute(statement, prepared)
        rows: int = cursor.rowcount
    return rows


def _prepared(
    connection: BaseDatabaseWrapper, model: type[models.Model], names: tuple[str, ...], values: tuple[Any, ...]
) -> list[Any]:
    """Return values as the fields of a model store them."""
    fields = _fields(model, names)
    return [field.get_db_prep_save(value, connection) for field, value in zip(fields, values, strict=True)]


@cache
def _fields(model: type[models.Model], names: tuple[str, ...]) -> "tuple[models.Field[Any, Any], ...]":
    return tuple(model._meta.get_field(name) for name in names)  # type: ignore[misc]  # none is a relation from afar


@cache
def _update_statement(alias: str, names: tuple[str, ...]) -> str:
    table, columns = _quoted(alias, ProcessingJob, (*names, *POSITION))
    places = [f"{column} = %s" for column in columns]
    wanted = len(POSITION)
    return f"UPDATE {table} SET {', '.join(places[:-wanted])} WHERE {' AND '.join(places[-wanted:])}"  # noqa: S608


@cache
def _insert_statement(alias: str) -> str:
    table, columns = _quoted(alias, JobEvent, EVENT_FIELDS)
    places = ["%s"] * len(columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(places)})"  # noqa: S608  (our own names)


@cache
def _single_statement(alias: str, names: tuple[str, ...]) -> str:
    table, columns = _quoted(alias, JobEvent, EVENT_FIELDS)
    # A bare value in a SELECT would count as text.
    places = [f"CAST(%s AS {field.db_type(connections[alias])})" for field in _fields(JobEvent, EVENT_FIELDS)]
    return (
        f"WITH moved AS ({_update_statement(alias, names)} RETURNING 1) "  # noqa: S608  (our own names)
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(places)} FROM moved"
    )


def _quoted(alias: str, model: type[models.Model], names: tuple[str, ...]) -> tuple[str, list[str]]:
    quote = connections[alias].ops.quote_name
    return quote(model._meta.db_table), [quote(str(field.column)) for field in _fields(model, names)]

"""Writes a decided change: the job's row, the event in its log, the signal to watchers. For the lifecycle only."""

from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from . import database
from .changes import Change
from .events import Event
from .models import JobEvent, ProcessingJob
from .signals import job_event_committed
from .states import EXTRAS

# What an update finds the job by: its stream, its attempt, and that nobody has written since.
POSITION = ("id", "epoch", "attempt", "seq")
EVENT_FIELDS = ("job", "seq", "kind", "status", "progress", "message", "metadata", "timestamp")


class Write(NamedTuple):
    """A change that is ready to be written: what the job is before and after it, and its event."""

    before: ProcessingJob
    after: ProcessingJob
    fields: dict[str, Any]
    event: Event

    @classmethod
    def of(cls, connection: BaseDatabaseWrapper, job: ProcessingJob, change: Change, *, last_seq: int = 0) -> "Write":
        """Make a change ready.

        Args:
            connection: Where it is to be written.
            job: What it was decided on.
            change: The change.
            last_seq: The last position in the job's event log, where that is known. If the row was set back behind it,
                by SQL or an old fixture, the new position continues from the log.

        """
        # Never before the last change: a clock that was set back would put the end before the beginning.
        now = max(database.now(connection), job.updated_at)
        seq = max(job.seq, last_seq) + 1
        fields = {**change.fields_at(now, seq), "seq": seq}
        after = ProcessingJob.__new__(ProcessingJob)  # the job itself stays as it is until the change has committed
        after.__dict__.update(job.__dict__)
        after.__dict__.update(fields)
        return cls(job, after, fields, event_of(after, change, now))


def write(connection: BaseDatabaseWrapper, prepared: Write) -> bool:
    """Write a change if the job still stands where it did; return whether it was written.

    Called within a transaction, unless the database takes it in one statement.

    Raises:
        IntegrityError: The position is taken: the job's row was set back.

    """
    before, names = prepared.before, tuple(prepared.fields)
    position = (before.pk, before.epoch, before.attempt, before.seq)
    update = _prepared(connection, ProcessingJob, (*names, *POSITION), (*prepared.fields.values(), *position))
    if writes_in_one_statement(connection):
        insert = _prepared(connection, JobEvent, EVENT_FIELDS, _values(prepared.event))
        return _execute(connection, _single_statement(connection.alias, names), update + insert) == 1
    if _execute(connection, _update_statement(connection.alias, names), update) != 1:
        return False
    append(connection, prepared.event)
    return True


def writes_in_one_statement(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the database takes an update and an insert in one statement: four round trips become one."""
    return connection.vendor == "postgresql"


def append(connection: BaseDatabaseWrapper, event: Event) -> None:
    """Add an event to the job's event log."""
    prepared = _prepared(connection, JobEvent, EVENT_FIELDS, _values(event))
    _execute(connection, _insert_statement(connection.alias), prepared)


def is_logged(connection: BaseDatabaseWrapper, event: Event) -> bool:
    """Return whether an event was committed. Its position alone does not say so: that may be another writer's event."""
    log = JobEvent.objects.using(connection.alias).filter(job_id=event.job_id, seq=event.seq)
    return log.filter(kind=event.kind, timestamp=event.timestamp).exists()


def announce(event: Event) -> None:
    """Send a committed event to whoever listens."""
    job_event_committed.send_robust(sender=ProcessingJob, event=event)


def event_of(job: ProcessingJob, change: Change, now: datetime) -> Event:
    """Return the event of the change that brought the job where it is."""
    is_extra = change.kind in EXTRAS
    return Event(
        job_id=job.pk,
        epoch=job.epoch,
        seq=job.seq,
        kind=change.kind,
        status=job.status,
        progress=job.progress,
        message=change.text if is_extra else job.message,
        metadata=change.about if is_extra else job.metadata,
        timestamp=now,
    )


def _values(event: Event) -> tuple[Any, ...]:
    """Return an event as a row of the log, in the order of `EVENT_FIELDS`."""
    shown = event.status, event.progress, event.message, event.metadata
    return event.job_id, event.seq, event.kind, *shown, event.timestamp


# The statements. Django would compile the same SQL anew for each event, which takes several times
# as long as running it (benchmarks/write_path.py); so it is compiled once for each set of columns.


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

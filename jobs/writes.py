"""Writes a decided change: the job's row, the event in its log, the signal to watchers. For the lifecycle only."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from .changes import Change
from .events import Event
from .models import JobEvent, ProcessingJob
from .signals import job_event_committed
from .states import EXTRAS

# What an update finds the job by: its stream, its attempt, and that nobody has written since.
POSITION = ("id", "epoch", "attempt", "seq")
PLAIN = {models.CharField: str, models.TextField: str, models.FloatField: float}  # what is stored as it is
SHARED = dict, datetime  # what takes longest to prepare
EVENT_FIELDS = ("job", "seq", "kind", "status", "progress", "message", "metadata", "timestamp")


class Write(NamedTuple):
    """A change that is ready to be written: what the job is before and after it, and its event."""

    before: ProcessingJob
    after: ProcessingJob
    fields: dict[str, Any]
    event: Event
    change: Change

    @classmethod
    def of(cls, job: ProcessingJob, change: Change, now: datetime, *, last_seq: int = 0) -> "Write":
        """Make a change ready.

        Args:
            job: What it was decided on.
            change: The change.
            now: The time by the database's clock.
            last_seq: The last position in the job's event log, where that is known. If the row was set back behind it,
                by SQL or an old fixture, the new position continues from the log.

        """
        # Never before the last change: a clock that was set back would put the end before the beginning.
        now = max(now, job.updated_at)
        seq = max(job.seq, last_seq) + 1
        fields = {**change.fields_at(now, seq), "seq": seq}
        after = ProcessingJob.__new__(ProcessingJob)  # the job itself stays as it is until the change has committed
        after.__dict__.update(job.__dict__)
        after.__dict__.update(fields)
        return cls(job, after, fields, event_of(after, change, now), change)


def write(connection: BaseDatabaseWrapper, prepared: Write) -> bool:
    """Write a change if the job still stands where it did; return whether it was written.

    Called within a transaction, unless the database takes it in one statement.

    Raises:
        IntegrityError: The position is taken: the job's row was set back.

    """
    before, names = prepared.before, tuple(prepared.fields)
    position = (before.pk, before.epoch, before.attempt, before.seq)
    shared: dict[int, Any] = {}
    update = _prepared(connection, ProcessingJob, (*names, *POSITION), (*prepared.fields.values(), *position), shared)
    insert = _prepared(connection, JobEvent, EVENT_FIELDS, _values(prepared.event), shared)
    if writes_in_one_statement(connection):
        return _execute(connection, _single_statement(connection.alias, names), update + insert) == 1
    with connection.cursor() as cursor:  # one for both, since Django's are not free
        cursor.execute(_update_statement(connection.alias, names), update)
        if cursor.rowcount != 1:
            return False
        cursor.execute(_insert_statement(connection.alias), insert)
    return True


def write_all(connection: BaseDatabaseWrapper, chains: Sequence[Sequence[Write]]) -> bool:
    """Write several changes of each of several jobs if all still stand where they did; return whether they do.

    Called within a transaction. If not all jobs stand where they did, it is to be rolled back.

    Args:
        connection: Where they are written.
        chains: The changes of each job, each decided on what the one before leaves. A column that any of them changes
            is written for all.

    Raises:
        IntegrityError: A position is taken: a job's row was set back.

    """
    names = tuple(sorted({name for chain in chains for write in chain for name in write.fields}))
    rows = [
        (*(getattr(chain[-1].after, name) for name in names), *(getattr(chain[0].before, name) for name in POSITION))
        for chain in chains
    ]
    update = _prepared_columns(connection, ProcessingJob, (*names, *POSITION), rows)
    if connection.vendor == "postgresql":
        changed = _execute(connection, _update_all_statement(connection.alias, names), update)
    else:
        changed = _execute_many(connection, _update_statement(connection.alias, names), update)
    if changed == len(rows):
        append(connection, [write.event for chain in chains for write in chain])
    return changed == len(rows)


def append(connection: BaseDatabaseWrapper, events: list[Event]) -> None:
    """Add events to their jobs' logs."""
    insert = _prepared_columns(connection, JobEvent, EVENT_FIELDS, [_values(event) for event in events])
    if connection.vendor == "postgresql":
        _execute(connection, _insert_all_statement(connection.alias), insert)
    else:
        _execute_many(connection, _insert_statement(connection.alias), insert)


def writes_in_one_statement(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the database takes an update and an insert in one statement: four round trips become one."""
    return connection.vendor == "postgresql"


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


def _execute_many(connection: BaseDatabaseWrapper, statement: str, columns: list[list[Any]]) -> int:
    """Run a statement once for each row; return how many rows it changed in all."""
    with connection.cursor() as cursor:
        cursor.executemany(statement, list(zip(*columns, strict=True)))
        changed: int = cursor.rowcount
    return changed


def _prepared_columns(
    connection: BaseDatabaseWrapper, model: type[models.Model], names: tuple[str, ...], rows: list[tuple[Any, ...]]
) -> list[list[Any]]:
    """Return rows of values as the fields of a model store them, column by column."""
    columns = zip(_fields(model, names), zip(*rows, strict=True), strict=True)
    return [_prepared_column(connection, field, values) for field, values in columns]


def _prepared_column(
    connection: BaseDatabaseWrapper, field: "models.Field[Any, Any]", values: tuple[Any, ...]
) -> list[Any]:
    """Return values as a field stores them. What a job's events have in common is prepared once: it takes longest."""
    last, prepared, column = object(), None, []
    for value in values:
        if value is not last:
            last, prepared = value, field.get_db_prep_save(value, connection)
        column.append(prepared)
    return column


def _prepared(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    names: tuple[str, ...],
    values: tuple[Any, ...],
    shared: dict[int, Any],
) -> list[Any]:
    """Return values as the fields of a model store them.

    Args:
        connection: Where they are stored.
        model: The model.
        names: The fields.
        values: A value of each.
        shared: What was prepared before of the same change, by the ids of the values, which the job and its event have
            in common.

    """
    prepared = []
    for field, plain, value in zip(_fields(model, names), _plain_types(model, names), values, strict=True):
        if type(value) is plain:
            prepared.append(value)
        elif type(value) not in SHARED:
            prepared.append(field.get_db_prep_save(value, connection))
        else:
            if id(value) not in shared:
                shared[id(value)] = field.get_db_prep_save(value, connection)
            prepared.append(shared[id(value)])
    return prepared


@cache
def _fields(model: type[models.Model], names: tuple[str, ...]) -> "tuple[models.Field[Any, Any], ...]":
    return tuple(model._meta.get_field(name) for name in names)  # type: ignore[misc]  # none is a relation from afar


@cache
def _plain_types(model: type[models.Model], names: tuple[str, ...]) -> tuple[type | None, ...]:
    """Return of each field the type of values that any database stores as they are."""
    fields = [getattr(field, "target_field", field) for field in _fields(model, names)]
    return tuple(PLAIN.get(type(field)) for field in fields)


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


# PostgreSQL takes all rows in one statement, a column of them in an array: half the time of a statement for each.


@cache
def _update_all_statement(alias: str, names: tuple[str, ...]) -> str:
    table, columns = _quoted(alias, ProcessingJob, (*names, *POSITION))
    given, source = _unnested(alias, ProcessingJob, (*names, *POSITION))
    new = [f"{column} = {value}" for column, value in zip(columns, given, strict=True)]
    wanted = [f"{table}.{place}" for place in new[-len(POSITION) :]]
    return f"UPDATE {table} SET {', '.join(new[: -len(POSITION)])} FROM {source} WHERE {' AND '.join(wanted)}"  # noqa: S608


@cache
def _insert_all_statement(alias: str) -> str:
    table, columns = _quoted(alias, JobEvent, EVENT_FIELDS)
    given, source = _unnested(alias, JobEvent, EVENT_FIELDS)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(given)} FROM {source}"  # noqa: S608


def _unnested(alias: str, model: type[models.Model], names: tuple[str, ...]) -> tuple[list[str], str]:
    """Return how a statement names the values of each column, and where it has them from."""
    given = [f"c{number}" for number in range(len(names))]
    arrays = [f"(%s)::{field.db_type(connections[alias])}[]" for field in _fields(model, names)]
    return [f"given.{name}" for name in given], f"UNNEST({', '.join(arrays)}) AS given({', '.join(given)})"


def _quoted(alias: str, model: type[models.Model], names: tuple[str, ...]) -> tuple[str, list[str]]:
    quote = connections[alias].ops.quote_name
    return quote(model._meta.db_table), [quote(str(field.column)) for field in _fields(model, names)]

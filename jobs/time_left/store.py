"""The table of what earlier runs took: read once when a run starts, written when one succeeds.

Neither may ever fail a job: what can't be read is no history, and what can't be written is left out.
"""

import logging
from contextlib import nullcontext
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet

from .. import database
from ..database import connection_to_write, with_retries
from ..models import KindRun
from .history import History
from .record import Run, run_of

logger = logging.getLogger(__name__)

MAX_RUNS = 20  # of a kind
MAX_BYTES = 12 * 1024  # of a kind
ROW_BYTES = 50  # of a run, besides its texts
KEEP_DAYS = 400  # what runs once a year is remembered
MAX_ROWS = 100_000  # of all kinds, whoever makes one of each job's id


def history_of(kind: str, known: History | None = None) -> History | None:
    """Return what is known of a kind, None of no kind; what can't be read is left out.

    Args:
        kind: The kind.
        known: What was read a moment ago, perhaps of another.

    """
    if not kind:
        return None
    if known is not None and known.kind == kind:
        return known
    try:
        rows = with_retries(partial(_read, kind))
    except Exception as error:  # whatever it is, the job runs without
        logger.warning("The history of jobs of the kind %r can't be read: %r", kind, error)
        return History(kind)
    return History(kind, tuple(run for row in rows if (run := _readable(kind, *row)) is not None))


def _read(kind: str, connection: BaseDatabaseWrapper) -> list[tuple[float, str, float | None, str]]:
    # Within a transaction of the caller's, a failure must not break that.
    within = transaction.atomic(using=connection.alias) if connection.in_atomic_block else nullcontext()
    with within:
        return list(_newest(connection, kind).values_list("seconds", "unit", "size", "course")[:MAX_RUNS])


def _newest(connection: BaseDatabaseWrapper, kind: str) -> "QuerySet[KindRun]":
    # In the order in which they were written: by a clock that was ahead once, those runs would stay the newest.
    return KindRun.objects.using(connection.alias).filter(kind=kind).order_by("-pk")


def _readable(kind: str, seconds: float, unit: str, size: float | None, course: str) -> Run | None:
    try:
        return run_of(seconds, unit, size, course)
    except Exception as error:  # whatever is stored there
        logger.warning("A run of the kind %r can't be read: %r", kind, error)
        return None


def keep(connection: BaseDatabaseWrapper, kind: str, run: Run, finished_at: datetime) -> None:
    """Keep a run that has succeeded, in the transaction that says so, and let the oldest of its kind go."""
    try:
        text = run.text()
        if text is None:
            return
        fields: dict[str, Any] = {"seconds": run.seconds, "unit": run.unit, "size": run.size, "course": text}
        with transaction.atomic(using=connection.alias):
            KindRun.objects.using(connection.alias).create(kind=kind, finished_at=finished_at, **fields)
            _forget_oldest(connection, kind)
    except Exception as error:
        if connection.needs_rollback:  # all of it is lost: the caller is to know
            raise
        logger.warning("A run of the kind %r is not remembered: %r", kind, error)


def _forget_oldest(connection: BaseDatabaseWrapper, kind: str) -> None:
    """Delete the runs beyond what is kept of a kind, but for those that somebody else is deleting."""
    size, old = 0, []
    stored = _newest(connection, kind).values_list("pk", "unit", "course")[: 2 * MAX_RUNS]
    for number, (pk, unit, course) in enumerate(stored):
        size += ROW_BYTES + len(f"{kind}{unit}{course}".encode(errors="replace"))
        if number >= MAX_RUNS or size > MAX_BYTES:
            old.append(pk)
    if old:
        rows = KindRun.objects.using(connection.alias).filter(pk__in=old)
        skips = connection.features.has_select_for_update_skip_locked
        free = list(rows.select_for_update(skip_locked=skips).values_list("pk", flat=True))
        KindRun.objects.using(connection.alias).filter(pk__in=free).delete()


def forget_expired() -> None:
    """Delete the runs of kinds that no job has had for long, and the oldest of more than are kept of all kinds."""
    connection = connection_to_write()
    expired = database.now(connection) - timedelta(days=KEEP_DAYS)
    runs = KindRun.objects.using(connection.alias)
    runs.filter(finished_at__lt=expired).delete()
    for newest in runs.order_by("-pk").values_list("pk", flat=True)[MAX_ROWS : MAX_ROWS + 1]:
        runs.filter(pk__lte=newest).delete()

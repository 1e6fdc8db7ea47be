"""The connection to the jobs' database, and what is done again where the database refuses.

What is a transaction of our own is repeated by us. Within a transaction of the caller's, nothing is: only they know
all that is in it, so every error is theirs.
"""

import itertools
import random
import sqlite3
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.core import checks
from django.db import Error, InterfaceError, OperationalError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError
from django.utils import timezone

from .batches import MANY_IDS
from .models import ProcessingJob, ProcessingJobQuerySet

R = TypeVar("R")

UNAVAILABLE = (OperationalError, InterfaceError)  # raised by a database that is locked, full or away
TRIES = 30  # of a transaction that others are faster with
PAUSE_SECONDS = 0.002  # before the second try at most; before the third twice that, and so on
# Of PostgreSQL: serialization_failure and deadlock_detected, after which the whole transaction is to be repeated.
CONFLICTS = frozenset({"40001", "40P01"})
CLOCK_SECONDS = 60.0  # for which a look at the database's clock is good


def database_alias() -> str:
    """Return the alias of the database that jobs are written to, and read from where a replica may lag."""
    return router.db_for_write(ProcessingJob)


def connection_to_write() -> BaseDatabaseWrapper:
    """Return this thread's connection to the database that jobs are written to."""
    connection: BaseDatabaseWrapper = connections[database_alias()]
    return connection


def jobs_as_written() -> ProcessingJobQuerySet:
    """Return the jobs where they are written, since a replica may lag."""
    return ProcessingJob.objects.using(database_alias())


def most_ids(alias: str) -> int:
    """Return how many ids a query of a database may name."""
    limit = connections[alias].features.max_query_params
    return MANY_IDS if limit is None else max(1, min(MANY_IDS, limit // 2))


def with_retries(work: Callable[[BaseDatabaseWrapper], R]) -> R:
    """Run one transaction, and run it again if the connection was lost or another transaction won.

    What was interrupted by a lost connection may have been committed: ``work`` has to look first.

    Raises:
        Error: The database refuses, and would refuse again; or the transaction is the caller's.
        TransactionManagementError: Autocommit is off, so that nobody would see what is written.

    """
    connection = connection_to_write()
    for tries in itertools.count(1):
        if not connection.in_atomic_block and not connection.get_autocommit():  # which connects, if need be
            raise TransactionManagementError("Jobs are written with autocommit on, or within atomic().")
        driver_connection = connection.connection
        try:
            return work(connection)
        except Error as error:
            if connection.in_atomic_block:
                raise
            if tries == TRIES or not (is_lost(connection, driver_connection) or _is_conflict(error)):
                raise
        time.sleep(random.uniform(0, PAUSE_SECONDS * tries))  # noqa: S311
    raise AssertionError("unreachable")


def now(connection: BaseDatabaseWrapper) -> datetime:
    """Return the time by the clock that all writers of the database share.

    That is PostgreSQL's own, to within a round trip: the hosts of the workers differ, and their clocks may be set
    back. Those who use another database are taken to have one clock.
    """
    if connection.vendor != "postgresql":
        return timezone.now()
    looked: Any = getattr(connection, "_jobs_clock", None)  # when that was, and what the clock said
    if looked is None or time.monotonic() - looked[0] > CLOCK_SECONDS:
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            looked = time.monotonic(), cursor.fetchone()[0]
        connection._jobs_clock = looked  # type: ignore[attr-defined]
    at: datetime = looked[1]
    return at + timedelta(seconds=time.monotonic() - looked[0])


def is_lost(connection: BaseDatabaseWrapper, driver_connection: Any) -> bool:
    """Return, after an error, whether the driver's connection from before is lost; if so, close what is left of it.

    Django may have opened another already, as it leaves ``atomic()``.
    """
    if connection.connection is driver_connection and connection.is_usable():
        return False
    if connection.connection is driver_connection:
        connection.close()
    return True


def _is_conflict(error: Error) -> bool:
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):  # what was read is no longer so; another writer is waited for by SQLite itself
        return getattr(cause, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY_SNAPSHOT
    return getattr(cause, "sqlstate", None) in CONFLICTS


def writers_wait(settings_of: Mapping[str, Any]) -> bool:
    """Return whether writers of an SQLite database wait for each other, by its settings.

    In Django's default mode, a transaction that has read before it writes is refused at once if anybody else has
    written meanwhile.
    """
    mode = settings_of.get("OPTIONS", {}).get("transaction_mode") or "DEFERRED"
    return bool(mode.upper() != "DEFERRED")


@checks.register()
def check_transaction_mode(**_: Any) -> list[checks.CheckMessage]:
    """Check at start that those who write jobs to SQLite wait for each other."""
    alias = database_alias()
    database = settings.DATABASES.get(alias, {})
    if not database.get("ENGINE", "").endswith("sqlite3") or writers_wait(database):
        return []
    words = f"Writers of the database {alias!r} do not wait for each other: they fail with «database is locked»."
    hint = "Set its OPTIONS to {'transaction_mode': 'IMMEDIATE'}; until then, jobs write their own reports."
    return [checks.Warning(words, hint=hint, id="jobs.W001")]


@checks.register()
def check_autocommit(**_: Any) -> list[checks.CheckMessage]:
    """Check at start that what is written is committed."""
    alias = database_alias()
    if settings.DATABASES.get(alias, {}).get("AUTOCOMMIT", True):
        return []
    words = f"The database {alias!r} has AUTOCOMMIT off: no job could be written but within atomic(). Leave it on."
    return [checks.Error(words, id="jobs.E004")]

"""The space of an SQLite file, which does not shrink by itself. PostgreSQL's autovacuum sees to its own."""

from contextlib import closing
from typing import Any, NamedTuple

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from ..models import JobEvent

GIVEN_BACK = 100  # pages at a time, which takes 2 ms; a thousand have taken 118
INCREMENTAL = 2  # of PRAGMA auto_vacuum


class Space(NamedTuple):
    """Bytes of an SQLite file: all of it, and of those the free ones."""

    size: int
    free: int


def prepare(sender: Any, using: str, **_: Any) -> None:
    """Receive `pre_migrate`: have a new file of jobs be such that it can shrink.

    It is done once, and not at each new connection: there it is a write, even with no effect, after which all servers
    would look for what has changed.
    """
    connection = connections[using]
    is_of_jobs = router.allow_migrate_model(using, JobEvent)
    if connection.vendor == "sqlite" and is_of_jobs and not connection.introspection.table_names():
        rebuild(connection)


def give_back(connection: BaseDatabaseWrapper) -> bool:
    """Shrink the file by some of its free pages, if it was made for that and has any; return whether it did."""
    if connection.vendor != "sqlite" or _pragma(connection, "auto_vacuum") != INCREMENTAL:
        return False
    if not _pragma(connection, "freelist_count"):
        return False
    # A cursor's `execute` would step the statement once, and each step frees one page.
    connection.connection.executescript(f"PRAGMA incremental_vacuum({GIVEN_BACK})")
    return True


def space(connection: BaseDatabaseWrapper) -> Space:
    """Return how large the file is."""
    page = _pragma(connection, "page_size")
    return Space(page * _pragma(connection, "page_count"), page * _pragma(connection, "freelist_count"))


def rebuild(connection: BaseDatabaseWrapper) -> None:
    """Write the file anew without its free pages, and such that it can shrink from here on. Writers wait meanwhile."""
    connection.ensure_connection()
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _pragma(connection: BaseDatabaseWrapper, name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {name}")
        value: int = cursor.fetchone()[0]
    return value

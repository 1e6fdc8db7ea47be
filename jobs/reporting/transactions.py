"""A run while a transaction of the caller's is open: how it shows before the end, and what a rollback makes of it.

Where the database takes another writer meanwhile, the report thread writes, through its own connection. SQLite takes
one at a time, so there the run is a part of the transaction, as it is anywhere if the job was made in it, and in tests
that are rolled back. A run that is rolled back has failed, also if its work went well: what it has done is gone.
"""

import logging
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from ..database import connection_to_write, jobs_as_written, writers_wait
from ..exceptions import JobError
from .report_thread import ReportThread
from .run import Run

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0  # which the report thread may take to look for a job


def can_be_written_beside(job_id: str, thread: ReportThread) -> bool:
    """Return whether the report thread can write a job now, whatever transaction is open here."""
    connection: Any = connection_to_write()
    if connection.vendor == "sqlite":
        # Where writers do not wait, what the thread writes would make the caller's own transactions fail.
        is_alone = connection.in_atomic_block or connection.is_in_memory_db()
        return writers_wait(connection.settings_dict) and not is_alone
    if not connection.in_atomic_block:
        return True
    return not _is_of_test(connection) and _is_committed(job_id, thread)


def _is_committed(job_id: str, thread: ReportThread) -> bool:
    look = thread.call(lambda: jobs_as_written().filter(pk=job_id).exists())
    try:
        return look.result(LOOK_SECONDS)
    except (Error, CancelledError, FutureTimeout) as error:
        look.cancel()
        logger.debug("Job %r is written within its transaction: %r", job_id, error)
        return False


def _is_of_test(connection: BaseDatabaseWrapper) -> bool:
    """Return whether it is the transaction of one of Django's tests, or within it."""
    return any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


class Outcome:
    """What is done once the transaction commits that is open; if it is rolled back, the run has failed.

    It is a hook of the transaction, which holds the only reference to it, and drops it when it is rolled back, whole or
    to a savepoint.
    """

    def __init__(self, run: Run, commit: Callable[[], object]) -> None:
        self._run, self._commit = run, commit
        self._rolled_back = weakref.finalize(self, _fail, run)
        self._rolled_back.atexit = False

    @classmethod
    def of_transaction(cls, run: Run, commit: Callable[[], object]) -> None:
        """Add it to the hooks of the transaction that is open here, if there is one."""
        connection = connection_to_write()
        if connection.in_atomic_block and not _is_of_test(connection):
            connection.on_commit(cls(run, commit), robust=True)

    def __call__(self) -> None:
        """Take note of the commit."""
        self._rolled_back.detach()
        try:
            self._commit()
        except JobError as refused:
            logger.warning("The end of job %r was not recorded: %s", self._run.lifecycle.job_id, refused)


def _fail(run: Run) -> None:
    error = run.failure or "The transaction in which the work was done was rolled back"
    run.note_end(("mark_failed", {"error": error}))
    thread = ReportThread.of_this_process()
    thread.add(run)
    thread.wake(0)

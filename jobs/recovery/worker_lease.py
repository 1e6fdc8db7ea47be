"""What a process that runs jobs promises: to be alive. One row, which one small write renews for all of its jobs.

All times are the database's, since clocks differ.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from ..batches import batched
from ..database import jobs_as_written, with_retries
from ..leases import Worker
from ..locked import locked, write_decided
from ..states import Status
from .decisions import back

TTL_SECONDS = 20.0  # after a renewal, for which the process is taken to be alive: two may fail
RENEW_SECONDS = 8.0  # between two renewals
SWEEPERS = 3  # processes that look for others that are lost, of all that run jobs
LOCK_SECONDS = 0.1  # for which SQLite waits for another writer
MOST = 100  # jobs written in one transaction


def lives() -> Q:
    """Return the condition that a worker has renewed its lease in time, and that the clock was not set back since.

    By far, that is: another's statement may have begun a moment after this one.
    """
    return Q(until__range=(Now(), Now() + timedelta(seconds=2 * TTL_SECONDS)))


class WorkerLease:
    """The lease of this process, which begins with its first run of a job."""

    def __init__(self) -> None:
        self.worker_id = secrets.token_hex(8)
        self.is_sweeper = False  # this process is one of those that look for others that are lost
        self._renew_at = float("-inf")  # by the monotonic clock
        self._is_kept = False  # there may be a row of it
        self._was_late = False  # some of its jobs may be shown as stalled
        self._lock = threading.Lock()  # of the row: one thread may begin while the one before ends

    def renew_if_due(self) -> None:
        """Promise anew to be alive, if it is time.

        Raises:
            Error: The database does not answer; the next call tries again.

        """
        now = time.monotonic()
        if now < self._renew_at:
            return
        with self._lock:
            self._is_kept = True
            with_retries(self._renew)
            self._renew_at = now + RENEW_SECONDS

    def release(self, is_over: Callable[[], bool]) -> None:
        """End well: nobody has to look for this process. Unless it is not over by now.

        Raises:
            Error: The database does not answer; then others find out.

        """
        with self._lock:
            if self._is_kept and is_over():
                self._is_kept, self._renew_at = False, float("-inf")
                with_retries(lambda connection: self._row(connection).delete())

    def let_go(self, job_id: str) -> None:
        """Have a job be held by nobody, since nobody would renew this lease. Watchers are told nothing of leases."""
        with_retries(lambda _: jobs_as_written().filter(pk=job_id, worker=self.worker_id).update(worker=None))

    def _row(self, connection: BaseDatabaseWrapper) -> "QuerySet[Worker]":
        return Worker.objects.using(connection.alias).filter(pk=self.worker_id)

    def _renew(self, connection: BaseDatabaseWrapper) -> None:
        with _impatient(connection):
            self._write(connection)
        alive = Worker.objects.using(connection.alias).filter(lives()).order_by("pk")
        self.is_sweeper = self.worker_id in alive.values_list("pk", flat=True)[:SWEEPERS]

    def _write(self, connection: BaseDatabaseWrapper) -> None:
        until = Now() + timedelta(seconds=TTL_SECONDS)
        if not self._row(connection).filter(late_since=None).update(until=until):
            name = f"{socket.gethostname()[:200]}:{os.getpid()}"
            anew = {"name": name, "until": until, "late_since": None, "late_at": None, "is_settled": False}
            Worker.objects.using(connection.alias).update_or_create(pk=self.worker_id, defaults=anew)
            self._was_late = True
        if self._was_late:
            self._say_that_it_lives(connection)
            self._was_late = False

    def _say_that_it_lives(self, connection: BaseDatabaseWrapper) -> None:
        """Have no job of this process be shown as stalled any more."""
        jobs = jobs_as_written().filter(worker=self.worker_id, status=Status.IN_PROGRESS).order_by("pk")
        for job_ids in batched(jobs.values_list("pk", flat=True), MOST):
            with transaction.atomic(using=connection.alias):
                write_decided(connection, locked(connection, job_ids, waits=True).values(), back)


@contextmanager
def _impatient(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Have SQLite give up soon where somebody writes, perhaps this process's own code, for long: reports wait as well.

    It is tried again soon. Meanwhile nobody else can write either, that this worker is lost.
    """
    if connection.vendor != "sqlite":
        yield
        return
    usual = connection.settings_dict["OPTIONS"].get("timeout", 5.0)
    connection.ensure_connection()
    connection.connection.execute(f"PRAGMA busy_timeout = {int(1000 * LOCK_SECONDS)}")
    try:
        yield
    finally:
        connection.connection.execute(f"PRAGMA busy_timeout = {int(1000 * usual)}")

"""Rings for those who listen on PostgreSQL: ``NOTIFY``, which says nothing but «look».

Never within a job's transaction: that would hold a lock of the whole database while it commits, and all that write
reports would wait for each other. A thread of its own says it afterwards, once for all that was committed meanwhile.
"""

import logging
import threading

from django.db import connections

from ..conf import conf
from ..source.store import database_alias

logger = logging.getLogger(__name__)

CHANNEL = "progress_doorbell"  # which a database shares with no other
GATHER_SECONDS = 0.005  # between two of a process
RETRY_SECONDS = 1.0  # after a failure: a database that has no connection left is not asked for one by each report
IDLE_SECONDS = 5.0  # after which the connection is closed, until somebody rings again


class Notifier:
    """The thread that notifies, and its connection."""

    def __init__(self) -> None:
        self.backend: int | None = None  # the process of the database's that our notifications come from
        self._wanted = threading.Event()
        self._making = threading.RLock()  # also a signal's handler may ring
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()

    def ring(self) -> None:
        """Have it said soon. Returns at once, and raises nothing."""
        if self._wanted.is_set():
            return  # it is not said yet
        self._wanted.set()
        if self._thread is None:
            with self._making:
                self._start()

    def finish(self) -> None:
        """Have said what was not, and wait for that, at most ``PROGRESS_FLUSH_SECONDS``."""
        self._ending.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(conf.FLUSH_SECONDS)

    def _start(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="progress-notifier", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # there can be no more threads, or the process ends: a sweep finds what was committed
                self._wanted.clear()
            else:
                self._thread = thread

    def _run(self) -> None:
        while not self._ending.is_set():
            if not self._wanted.wait(IDLE_SECONDS):
                self._close()
                self._wanted.wait()
            self._wanted.clear()  # before it is said: what is committed from here on is to be said again
            self._ending.wait(GATHER_SECONDS if self._notify() else RETRY_SECONDS)
        if self._wanted.is_set():  # rung in the pause, or before there was a thread
            self._notify()
        self._close()

    def _notify(self) -> bool:
        """Say it; return whether that was possible."""
        connection = connections[database_alias()]
        try:
            with connection.cursor() as cursor:
                self.backend = connection.connection.info.backend_pid
                cursor.execute(f"NOTIFY {CHANNEL}")
        except Exception as error:  # whatever is wrong, the sweeps go on; the next ring tries again
            logger.debug("The servers could not be notified: %r", error)
            self._close()
            return False
        return True

    def _close(self) -> None:
        self.backend = None
        connections[database_alias()].close()

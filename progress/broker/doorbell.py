"""The doorbell: where there is no channel layer, a process that has committed has the servers look at once.

They would look soon in any case, so a ring may get lost, come late or for nothing. On SQLite they have bells beside the
file (`progress.broker.bells`), on PostgreSQL they listen (`progress.broker.notifier`); who hears is
`progress.delivery.hearing`.
"""

import atexit
import logging
import os
import socket
import threading
import time
from typing import Any

from django.db import connections

from ..source.store import database_alias, is_in_tests
from . import bells, layers
from .notifier import Notifier

logger = logging.getLogger(__name__)

COMMIT_SECONDS = 20e-6  # less than a commit takes: what comes sooner after a ring is of the same, and was rung for
LOOK_SECONDS = 1.0  # between two looks at who wants to hear: a new server hears no sooner


class Doorbell:
    """What this process rings."""

    def __init__(self) -> None:
        self.notifier = Notifier()
        self._lock = threading.RLock()  # also a signal's handler may ring
        self._rung_at = self._looked_at = float("-inf")
        self._links: dict[str, socket.socket] = {}  # to the bells of others, by their names
        self._notifies = False

    def ring(self) -> None:
        """Have the other servers look soon. Called in a worker's thread: it takes microseconds, and raises nothing."""
        now = time.monotonic()
        if now - self._rung_at < COMMIT_SECONDS:
            return
        self._rung_at = now
        with self._lock:  # or another thread might close a socket, and a third get its number for something else
            if now - self._looked_at >= LOOK_SECONDS:
                self._looked_at = now
                self._look()
            for name, link in list(self._links.items()):
                try:
                    link.send(b"!")
                except BlockingIOError:
                    continue  # it was rung so often that it hears this as well
                except OSError:  # nobody hears it any more
                    self._links.pop(name, link).close()
        if self._notifies:
            self.notifier.ring()

    def _look(self) -> None:
        """Find out who wants to hear."""
        is_wanted = not (layers.are_configured() or is_in_tests())  # a test's database is this process's own
        self._notifies = is_wanted and connections[database_alias()].vendor == "postgresql"
        file = bells.database_file() if is_wanted and bells.ARE_POSSIBLE else None
        if file is not None:
            try:
                self._connect(file)
            except OSError as error:  # there is no folder, as before the first server, or it is not for us
                logger.debug("Nobody can be rung for: %s", error)

    def _connect(self, file: str) -> None:
        with bells.Folder(file) as folder:
            names = folder.names()
            for gone in self._links.keys() - names:
                self._links.pop(gone).close()
            for name in names:
                if name not in self._links and (link := folder.connect(name)) is not None:
                    self._links[name] = link

    def forget(self) -> None:
        """Let go of the bells of others."""
        for link in self._links.values():
            link.close()


_doorbell = Doorbell()


def ring(sender: Any, **_: Any) -> None:
    """Receive `jobs.signals.job_event_committed` and `jobs.signals.job_deleted`."""
    _doorbell.ring()


def own_backend() -> int | None:
    """Return the process of PostgreSQL's that this process notifies through, if it does."""
    return _doorbell.notifier.backend


def _finish() -> None:
    _doorbell.notifier.finish()


def _after_fork() -> None:
    # A thread that the child does not have may have held the lock; and it has another's bells to ring.
    global _doorbell
    _doorbell.forget()
    _doorbell = Doorbell()


os.register_at_fork(after_in_child=_after_fork)
# Before any job begins: what reports at the end of the process is registered later, and so called earlier.
atexit.register(_finish)

"""A thread that looks at what was marked, now and then. It is there while something is marked."""

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable, Collection
from typing import ClassVar

from django.db import connections

from .threads import is_in_tests

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5  # between two looks
EXIT_SECONDS = 5.0  # for which the end of the process waits for the last


class Looks:
    """Looks at ids that any thread may mark: at once, and then every `LOOK_SECONDS`, at all that were marked meanwhile.

    Args:
        look: Looks at some, and returns those that are to be looked at again. What it raises is logged, and all of them
            are looked at again.

    """

    _all: ClassVar["weakref.WeakSet[Looks]"] = weakref.WeakSet()

    def __init__(self, look: Callable[[Collection[str]], Collection[str]]) -> None:
        self._look = look
        self._begin()
        self._all.add(self)
        atexit.register(self.finish)

    def _begin(self) -> None:
        self._marked: set[str] = set()
        self._again: set[str] = set()  # those of the last look that are to be looked at again
        self._lock = threading.Lock()
        self._is_ending = threading.Event()
        self._thread: threading.Thread | None = None

    def mark(self, *ids: str) -> None:
        """Have some looked at."""
        with self._lock:
            self._marked.update(ids)
            if self._thread is None and self._marked:
                thread = threading.Thread(target=self._run, name="job-looks", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # at a limit, or as the process ends
                    logger.warning("Jobs are looked at later: %s", error)
                    return
                self._thread = thread

    def finish(self) -> None:
        """Look a last time at what is marked, and end; what is marked after that is looked at by another thread."""
        with self._lock:
            thread = self._thread
            self._is_ending.set()
        if thread is not None:
            thread.join(EXIT_SECONDS)
        self._is_ending.clear()

    def _run(self) -> None:
        is_over = was_ending = False
        while not is_over:
            self._look_once()
            is_ending = self._is_ending.wait(LOOK_SECONDS)
            with self._lock:
                is_over = not self._marked and (was_ending or not self._again)
                if is_over:
                    self._thread = None
            was_ending = is_ending
        connections.close_all()

    def _look_once(self) -> None:
        with self._lock:
            marked, self._marked = self._marked | self._again, set()
        if not marked:
            return
        try:
            self._again = set(self._look(marked))
        except Exception as error:  # of a database that does not answer, say
            logger.warning("Jobs are looked at later: %s", error)
            self._again = marked
        if is_in_tests():
            connections.close_all()


def _after_fork() -> None:
    """Leave to the parent process what it has marked; its thread, which the child does not have, may hold the lock."""
    for looks in Looks._all:
        looks._begin()


os.register_at_fork(after_in_child=_after_fork)

"""The loop that keeps the tables small: in a thread of its own, in one process at a time, never in a hurry.

Each pass deletes what is left of deleted jobs, compacts the logs of ended ones, prunes by the settings, and has other
tables forget what has expired. Besides, the loop looks in time for requests to cancel that no worker answers, and for
workers that are lost.
All of it may end at any moment, and the next pass goes on; two processes at once would do no harm either.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from django.db import connections

from ..cancellation import MIN_LOOK_SECONDS, record_unanswered
from ..database import UNAVAILABLE, connection_to_write
from ..number_settings import number_setting
from ..recovery import sweep
from . import deletion, space
from .compaction import compact_due
from .failures import Failures, raise_first
from .lease import LeaseHolder
from .pace import paced
from .pruning import Retention, prune

logger = logging.getLogger(__name__)

SECONDS = 10.0  # between two passes, unless ``JOBS_HOUSEKEEPING_SECONDS`` says otherwise
STOP_SECONDS = 5.0  # for which a process that ends waits for the batch under way

seconds = number_setting("JOBS_HOUSEKEEPING_SECONDS", SECONDS, 0.1, 86_400, "jobs.E023")

R = TypeVar("R")
Task = Callable[[], Iterable[object]]  # does a batch at each step


def finish_deletions() -> Iterator[object]:
    """Delete what is left of jobs that were deleted."""
    connection = connection_to_write()
    return _each((f"job {name}", partial(deletion.delete_left, connection, name)) for name in deletion.left(connection))


def prune_by_settings() -> Iterator[object]:
    """Delete the ended jobs that the settings do not keep, and log how many."""
    retention, gone = Retention.of_settings(), 0
    try:
        for count in prune(retention) if retention is not None else ():
            gone += count
            yield count
    finally:
        if gone:
            logger.info("Pruned %d ended jobs", gone)


def forget_expired() -> Iterator[object]:
    """Have other tables forget what has expired."""
    return _each((repr(forget), partial(_once, forget)) for forget in list(_expiries))


def _once(work: Callable[[], object]) -> Iterator[object]:
    yield work()


def give_space_back() -> Iterator[object]:
    """Shrink an SQLite file by what is free in it, a little at a time."""
    while space.give_back(connection_to_write()):
        yield space.GIVEN_BACK


def _each(works: Iterable[tuple[str, Task]]) -> Iterator[object]:
    """Do some works, each with its name, whatever becomes of the others.

    Raises:
        RuntimeError: At the end, if one has failed.
        OperationalError: The database does not answer, to none of them.

    """
    failed: Failures = []
    for name, work in works:
        try:
            yield from work()
        except UNAVAILABLE:
            raise
        except Exception as error:  # such as a row of the host's that refers to a job
            failed.append((name, error))
    raise_first(failed)


TASKS: tuple[Task, ...] = (finish_deletions, compact_due, prune_by_settings, forget_expired, give_space_back)
_expiries: dict[Callable[[], object], None] = {sweep.forget: None}


def on_each_pass(forget: Callable[[], object]) -> None:
    """Have a function called in each pass, which deletes some rows of another table that have expired."""
    _expiries[forget] = None


class Housekeeper:
    """Runs the passes, until it is stopped."""

    def __init__(self) -> None:
        self._lease = LeaseHolder("housekeeping")
        self._stopping = threading.Event()
        begin = time.monotonic() + MIN_LOOK_SECONDS
        self._look_at = {"unanswered cancellations": begin, "lost workers": begin}
        self._failing: set[str] = set()  # what has failed and was logged, until it works again
        self._thread = threading.Thread(target=self.run, name="jobs-housekeeping", daemon=True)

    def start(self) -> None:
        """Run in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no other batch; from any thread, or a signal's handler."""
        self._stopping.set()

    def join(self) -> None:
        """Wait until the batch under way is done and the lease is given back."""
        if self._thread.ident is not None:  # it was started
            self._thread.join(STOP_SECONDS)

    def run(self) -> None:
        """Run a pass every ``JOBS_HOUSEKEEPING_SECONDS``, and look in time for what needs no lease, until stopped.

        The connection stays open between two looks, which are few seconds apart.
        """
        pass_at = time.monotonic() + seconds()
        while not self._stopping.wait(max(0.0, min(pass_at, *self._look_at.values()) - time.monotonic())):
            if time.monotonic() >= pass_at:
                self.tidy()
                pass_at = time.monotonic() + seconds()
            else:
                self._look_in_time()
        self.finish()

    def tidy(self) -> bool:
        """Run one pass, unless another process does that, and return whether it ran; look for what needs no lease."""
        self._look_in_time(is_time=True)
        holds = bool(self._attempt("the lease", self._lease.take))
        if holds:
            for task in TASKS:
                self._attempt(task.__name__, partial(self._work, task))
        self._close()
        return holds

    def finish(self) -> None:
        """Let another process take over at once."""
        self._attempt("giving back the lease", self._lease.give_back)
        connections.close_all()

    def _look_in_time(self, *, is_time: bool = False) -> None:
        """Look for what is due. That needs no lease: each thing is recorded once, by anybody."""
        for name, look in self._looks().items():
            if is_time or time.monotonic() >= self._look_at[name]:
                seconds_to_next = self._attempt(name, look)
                seconds_to_next = MIN_LOOK_SECONDS if seconds_to_next is None else seconds_to_next
                self._look_at[name] = time.monotonic() + seconds_to_next

    def _looks(self) -> dict[str, Callable[[], float]]:
        """Return what is looked for, each by a function that returns the seconds until it is to be called again."""
        return {
            "unanswered cancellations": partial(record_unanswered, self._stopping.wait),
            "lost workers": lambda: sweep.look().seconds,
        }

    def _close(self) -> None:
        self._attempt("closing the connection", connection_to_write().close)

    def _work(self, task: Task) -> None:
        if self._may_go_on():
            for _ in paced(task(), self._stopping.wait):
                self._look_in_time()  # a pass may take long
                if not self._may_go_on():
                    return

    def _may_go_on(self) -> bool:
        return not self._stopping.is_set() and self._lease.keep()

    def _attempt(self, name: str, work: Callable[[], R]) -> R | None:
        """Do something that the next pass does again if it fails, and return its answer; log that it fails, once."""
        try:
            answer = work()
        except Exception as error:  # whatever it is: the other tasks go on, and so does the process
            if name not in self._failing:
                logger.warning("Housekeeping (%s) fails: %r. It is tried again.", name, error)
            self._failing.add(name)
            return None
        self._failing.discard(name)
        return answer

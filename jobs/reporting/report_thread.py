"""The thread that writes what the jobs of this process report, so that their own code only counts.

It has a database connection of its own, so what it writes shows also while the job's code is within a transaction, and
stays when that is rolled back. It is there while jobs run, says so to the others, and looks for workers that are lost.
"""

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from multiprocessing import util
from typing import Any, TypeVar

from django.db import Error, connections

from ..attempt import STOP_FIELDS
from ..batch import write_together
from ..children import soon
from ..database import connection_to_write, jobs_as_written
from ..models import ProcessingJob
from ..progress_report import report_seconds
from ..recovery.sweep import LOOK_SECONDS, look
from ..recovery.worker_lease import WorkerLease
from ..threads import is_in_tests
from .run import Run

logger = logging.getLogger(__name__)

R = TypeVar("R")

PARENT_SECONDS = 5.0  # between two looks at the children of those that have some, though nobody told
ASK_SECONDS = 0.5  # between two questions whether somebody wants a job to stop that reports nothing
LINGER_SECONDS = 5.0  # after the last run: another may begin
EXIT_SECONDS = 5.0  # for which the end of the process waits for what is to be written
LOCK_SECONDS = 0.1  # for which it waits where another transaction holds a job's row: all other jobs wait as well


class ReportThread:
    """Writes runs: a tick of each every ``JOBS_REPORT_SECONDS``, stages at once, and log lines together."""

    _current: "ReportThread | None" = None
    _making = threading.Lock()

    @classmethod
    def of_this_process(cls) -> "ReportThread":
        """Return the thread of this process; after a fork, the child gets its own."""
        with cls._making:
            if cls._current is None:
                cls._current = cls()
            return cls._current

    @classmethod
    def finish_of_this_process(cls) -> None:
        """End the thread of this process, if there is one; the next run gets another."""
        with cls._making:
            current, cls._current = cls._current, None
        if current is not None:
            current._leave_exit()
            current.finish()

    def __init__(self) -> None:
        self.lease = WorkerLease()
        self._runs: dict[Run, None] = {}
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._news = threading.Condition()
        self._wake_at = float("inf")  # before the next tick
        self._parents_at = float("-inf")
        self._look_at = float("-inf")  # for workers that are lost
        self._look_thread: threading.Thread | None = None
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._prepared: Any = None  # the driver's connection, once it is as it should be
        atexit.register(self.finish)
        # A process that multiprocessing has begun calls this instead.
        self._finalizer = util.Finalize(None, self.finish, exitpriority=0)

    def add(self, run: Run) -> None:
        """Write a run from now on. Where there can be no thread, the job's own code goes on to write it."""
        with self._news:
            if self._is_running():
                run.is_beside, run.notes.must_pause, run.notes.wake = True, False, self.wake
                self._runs[run] = None
                self._news.notify()  # it may linger after the run before

    def remove(self, run: Run) -> None:
        """Write a run no more; what is being written is."""
        with self._news:
            self._runs.pop(run, None)

    def wake(self, seconds: float) -> None:
        """Have it write within so many seconds, and not only with the next tick."""
        with self._news:
            self._wake_at = min(self._wake_at, time.monotonic() + seconds)
            self._news.notify()

    def call(self, function: Callable[[], R]) -> "Future[R]":
        """Run a function in the thread; where there can be none, the call is cancelled."""
        future: Future[R] = Future()
        with self._news:
            if self._is_running():
                self._calls.append((function, future))
                self._news.notify()
            else:
                future.cancel()
        return future

    @property
    def is_this(self) -> bool:
        """Whether this is the thread that calls: it collects garbage as any other, and with it a run's loop."""
        return threading.current_thread() is self._thread

    def _is_running(self) -> bool:
        """Return whether there is the thread, which is started if need be: not at a limit, or as the process ends."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="job-reports", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                logger.warning("Jobs write their own reports: %s", error)
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        tick_at = ask_at = time.monotonic()
        while self._wait(min(tick_at, ask_at)):
            now = time.monotonic()
            is_tick, is_time_to_ask = now >= tick_at, now >= ask_at
            tick_at = now + report_seconds() if is_tick else tick_at
            ask_at = now + ASK_SECONDS if is_time_to_ask else ask_at
            try:
                self._answer_calls()
                if is_time_to_ask:
                    self._live()
                self._write(is_tick=is_tick)
                if is_time_to_ask:
                    self._ask()
            except Exception:
                logger.exception("Reports of jobs are late.")
            if is_in_tests():
                connections.close_all()
        try:
            self.lease.release(lambda: self._thread is None)
        except Error as error:
            logger.debug("Others find out that this worker has ended: %s", error)
        connections.close_all()

    def _wait(self, next_at: float) -> bool:
        """Wait until there is something to do, with runs until a time at most; return False after a while without."""
        idle_since = time.monotonic()
        with self._news:
            while True:
                now = time.monotonic()
                if self._calls or (self._runs and now >= min(next_at, self._wake_at)):
                    self._wake_at = float("inf")
                    return True
                if not self._runs and (self._is_stopping or now >= idle_since + LINGER_SECONDS):
                    self._thread = None
                    return False
                due = min(next_at, self._wake_at) if self._runs else idle_since + LINGER_SECONDS
                self._news.wait(max(0.0, due - now))

    def _live(self) -> None:
        """Say that this process lives, and look for others that do not, each if it is time."""
        runs = list(self._runs)
        if not runs:
            return
        try:
            self.lease.renew_if_due()
            is_time = self.lease.is_sweeper and time.monotonic() >= self._look_at
            if is_time and not self._is_stopping and not any(run.is_held for run in runs):
                self._look_at = time.monotonic() + LOOK_SECONDS
                self._begin_to_look()
        except Error as error:
            logger.debug("This worker can't say now that it lives: %s", error)
        except Exception:  # whatever it is, reports go on
            logger.exception("This worker can't say that it lives, or look for others.")

    def _begin_to_look(self) -> None:
        """Look in a thread of its own: whoever is told that a job is queued again may take long."""
        if self._look_thread is None or not self._look_thread.is_alive():
            thread = threading.Thread(target=self._look, name="job-recovery", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                logger.warning("This worker can't look for others that are lost: %s", error)
            else:
                self._look_thread = thread

    def _look(self) -> None:
        try:
            self._look_at = time.monotonic() + look().seconds
        except Error as error:
            logger.debug("This worker can't look for others now: %s", error)
        except Exception:
            logger.exception("This worker can't look for others.")
        finally:
            connections.close_all()

    def _answer_calls(self) -> None:
        while self._calls:
            function, future = self._calls.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)

    def _write(self, *, is_tick: bool) -> None:
        """Write what is due, all in one transaction; what is more than a report, for each run alone."""
        due = [run for run in list(self._runs) if run.is_due(is_tick=is_tick)]
        if not due:
            return
        try:
            self._prepare()
        except Error as error:
            logger.warning("%d jobs can't report now (%s); they go on.", len(due), error)
            return
        together = {run: pending for run in due if (pending := run.pending()) is not None}
        answers: Sequence[Exception | None]
        try:
            answers = write_together(list(together.values()))
        except Exception as error:
            answers = [error] * len(together)
        late = [error for run, error in zip(together, answers, strict=True) if run.written(error)]
        if late:
            logger.warning("%d jobs can't report now (%s); they go on.", len(late), late[0])
        for run in due:
            if run not in together:
                run.write_beside()
            if run.has_ended.is_set():
                self.remove(run)

    def _prepare(self) -> None:
        """Have the database give up soon where another transaction holds a row: other jobs wait as well."""
        connection = connection_to_write()
        if connection.vendor != "postgresql":
            return
        if connection.connection is None or connection.connection is not self._prepared:
            with connection.cursor() as cursor:
                cursor.execute(f"SET lock_timeout = {int(1000 * LOCK_SECONDS)}")
            self._prepared = connection.connection

    def _ask(self) -> None:
        """Tell the runs that somebody wants them to stop, or that are over, without waiting for their next report."""
        runs = [run for run in list(self._runs) if not run.is_ending]
        try:
            jobs = jobs_as_written().only(*STOP_FIELDS).in_bulk({run.lifecycle.job_id for run in runs})
            parents = self._parents(jobs)
        except Error as error:
            logger.debug("Whether jobs are to stop can't be asked now: %s", error)
            return
        for run in runs:
            if (why := run.lifecycle.why_stop(jobs.get(run.lifecycle.job_id))) is not None:
                run.stop(why)
        soon.mark(*parents)

    def _parents(self, job_ids: Collection[str]) -> list[str]:
        """Return those that have children, now and then: whoever wrote one may have died before it could tell."""
        if time.monotonic() < self._parents_at:
            return []
        self._parents_at = time.monotonic() + PARENT_SECONDS
        children = ProcessingJob.objects.using(connection_to_write().alias).filter(parent__in=job_ids).order_by()
        return [parent for parent in children.values_list("parent", flat=True).distinct() if parent is not None]

    def finish(self) -> None:
        """Write what is to be written before the process ends, and end."""
        with self._news:
            self._is_stopping = True
            for run in [run for run in self._runs if not run.is_ending]:
                del self._runs[run]
            thread = self._thread
            self._news.notify()
        give_up_at = time.monotonic() + EXIT_SECONDS
        if thread is not None:
            thread.join(EXIT_SECONDS)
        if self._look_thread is not None:  # which the other may have begun meanwhile
            self._look_thread.join(max(0.0, give_up_at - time.monotonic()))

    def after_fork(self) -> None:
        """Leave the runs to the parent; their locks may have been held by the thread, which the child does not have."""
        self._news = threading.Condition()
        for run in self._runs:
            run.after_fork()
        self._leave_exit()

    def _leave_exit(self) -> None:
        atexit.unregister(self.finish)
        self._finalizer.cancel()


def _after_fork() -> None:
    ReportThread._making = threading.Lock()
    current, ReportThread._current = ReportThread._current, None
    if current is not None:
        current.after_fork()


os.register_at_fork(after_in_child=_after_fork)

"""One run of a job, and how what is noted of it gets written: by the report thread, or by the job's own code."""

import copy
import logging
import threading
import time
from collections.abc import Callable
from itertools import takewhile

from django.db import Error

from ..batch import Pending
from ..database import UNAVAILABLE, connection_to_write
from ..exceptions import InvalidTransition, JobCancelled, JobError
from ..lifecycle import ProcessingJobLifecycle
from ..progress_report import report_seconds
from .endings import LEFT, end_of_left
from .entries import Entry
from .notes import Notes
from .others import Others
from .waiting import LINES, Waiting

logger = logging.getLogger(__name__)

BACKOFF_SECONDS = 1.0  # without reports after the database did not answer: each try may hold up the work
PERSIST_SECONDS = 300.0  # for which it is tried to record a job's start and end
PERSIST_PAUSE_SECONDS = 1.0  # between two of these tries
MOST_WAITING = 1_000  # entries that were taken and are not written: until then no more are taken


class Run:
    """One run of a job. It is written with one connection at a time, in the order in which things were noted.

    Args:
        lifecycle: Of the attempt.

    """

    def __init__(self, lifecycle: ProcessingJobLifecycle) -> None:
        self.lifecycle = lifecycle
        self.notes = Notes(lifecycle.job_id)
        self.others = Others(self.notes)
        self.is_beside = False  # the report thread writes it, and not the job's own code
        self.is_ending = False  # its end is the last that was noted
        self.has_begun, self.has_ended = threading.Event(), threading.Event()
        self.stopped_by: Exception | None = None  # why it is to stop, as the report thread has learned
        self.failure = ""  # by what it has failed
        self._caller = connection_to_write()  # of the thread that began it
        self._due = float("-inf")  # the next tick, by the monotonic clock
        self._backoff_until = float("-inf")  # after the database did not answer
        self._give_up_at = float("inf")  # of the end
        self._waiting: list[Waiting] = []  # what was taken from the notes, and is not written yet
        self._writing = threading.Lock()  # a thread that finds it taken leaves the writing to the other
        self._writer: int | None = None  # the thread that has it

    @property
    def is_written_here(self) -> bool:
        """Whether it is being written by this thread, that is, by who has called."""
        return self._writer == threading.get_ident()

    @property
    def is_held(self) -> bool:
        """Whether the job's own code has a transaction open, beside which the database takes no other writer."""
        return self._caller.vendor == "sqlite" and self._caller.in_atomic_block

    @property
    def has_entries(self) -> bool:
        """Whether there is something to be written that nothing later supersedes."""
        return bool(self._waiting) or self.notes.has_entries

    def is_due(self, *, is_tick: bool) -> bool:
        """Return whether the report thread is to write now."""
        is_wanted = is_tick or self.has_entries
        return is_wanted and not self.is_held and time.monotonic() >= self._backoff_until

    def stop(self, error: Exception) -> None:
        """Have the job's code raise an error as soon as it reports."""
        self.stopped_by = error
        self.others.stop(error)
        self.notes.must_pause = True
        self.has_begun.set()

    def pause(self) -> None:
        """Do what is to be done between two reports of the job's code: stop, or write what is due.

        Raises:
            JobCancelled: Somebody asked for the job to be cancelled.

        """
        if self.stopped_by is not None:
            raise copy.copy(self.stopped_by)
        if self.others.link is not None:
            self.others.link.pause()
        elif not self.is_beside and (self.has_entries or time.monotonic() >= self._due):
            self.flush(waits=False)

    def flush(self, *, waits: bool = True) -> None:
        """Write now what is noted.

        Args:
            waits: Whether to wait for another thread that is writing.

        Raises:
            JobCancelled: Somebody asked for the job to be cancelled.

        """
        if not self.write(waits=waits):
            self._ask()
        if self.lifecycle.cancel_requested:
            raise JobCancelled(self.lifecycle.job_id)

    def _ask(self) -> None:
        """Ask whether to stop, where nothing was written that would have told."""
        if time.monotonic() < self._backoff_until:
            return
        try:
            why = self.lifecycle.asked_to_stop()
        except Error as error:
            self._back_off(error)
            return
        if why is not None:
            raise why

    def write(self, *, waits: bool = False) -> bool:
        """Write what is noted; return whether that was anything. A silent database delays it.

        Args:
            waits: Whether to wait for another thread that is writing.

        Raises:
            Error: Of the caller's transaction, which is broken now.

        """
        if not self._writing.acquire(blocking=waits):
            return False
        has_written = False
        self._writer = threading.get_ident()
        try:
            while time.monotonic() >= self._backoff_until and self._write():
                has_written = True
                if not self.has_entries:  # of another thread, meanwhile
                    break
        except Error as error:
            self._back_off(error)
        finally:
            self._writer = None
            self._writing.release()
        return has_written

    def write_last(self) -> None:
        """Write what is noted, once no other thread does, trying again while the database does not answer."""
        with self._writing:
            self.persist(self._write)
            self._due = float("-inf")  # what is reported behind the end is to be refused at once

    def write_lines(self) -> None:
        """Write the lines and the output that are noted, which the log of a job that is over takes, and no count."""
        with self._writing:
            self._take()
            self._waiting = [each for each in self._waiting if each.entry[0] in LINES]
            self.persist(self._write)

    # What the report thread calls. It raises nothing: the job's code is told.

    def write_beside(self) -> None:
        """Write what is noted."""
        try:
            if not self.write() and not self.is_beside:  # else the report thread asks about all runs together
                self._ask()
        except Exception as error:
            self._refused(error)
        self._look()

    def pending(self) -> Pending | None:
        """Return the reports that are to be written with those of other jobs, until `written`; None if it is not so."""
        if not self._writing.acquire(blocking=False):
            return None
        try:
            self._take()
            if self._waiting and all(each.decision is not None for each in self._waiting):
                return Pending(self.lifecycle, [each.decision for each in self._waiting if each.decision is not None])
        except Exception as error:
            self._refused(error)
        self._writing.release()
        return None

    def written(self, error: Exception | None) -> bool:
        """Take note that what was pending is written, or why not; return whether it is to be tried again."""
        if error is None:
            self._waiting.clear()
        elif isinstance(error, Error):
            self._rest()  # of which the report thread tells, once for all
        else:
            self._refused(error)
        self._writing.release()
        self._look()
        return isinstance(error, Error)

    def _drop(self, error: BaseException) -> None:
        """Write no more what was refused; but lines, which were refused with a count only, if the job is over."""
        keeps_lines = isinstance(error, InvalidTransition)
        self._waiting = [each for each in self._waiting if keeps_lines and each.entry[0] in LINES]

    def _refused(self, error: Exception) -> None:
        self._drop(error)
        if not isinstance(error, JobError):
            logger.error("A report of job %r was not recorded.", self.lifecycle.job_id, exc_info=error)
            return
        if self.is_ending:
            logger.warning("The end of job %r was not recorded: %s", self.lifecycle.job_id, error)
        self.stop(error)

    def _look(self) -> None:
        """Look whether it is to stop, or has ended."""
        try:
            if self.stopped_by is None and not self.is_ending and self.lifecycle.cancel_requested:
                self.stop(JobCancelled(self.lifecycle.job_id))
        except JobError as error:  # the lifecycle knows no state of it any more, and has read that it is gone
            self.stop(error)
        except Error as error:
            logger.debug("Whether job %r is to stop can't be asked now: %s", self.lifecycle.job_id, error)
        is_tried_again = self.stopped_by is None and self.has_entries and time.monotonic() < self._give_up_at
        if self.is_ending and not is_tried_again:
            self.has_ended.set()

    def call(self, entry: Entry) -> None:
        """Write one thing that was noted."""
        name, arguments = end_of_left(self.lifecycle, **entry[1]) if entry[0] == LEFT else entry
        getattr(self.lifecycle, name)(**arguments)

    def note_end(self, end: Entry) -> None:
        """Have the report thread write the run's end."""
        self.notes.add_last(*end)
        self._give_up_at = time.monotonic() + PERSIST_SECONDS
        self.stopped_by, self.is_ending = None, True

    def persist(self, change: Callable[[], object]) -> None:
        """Record a change that must not be lost, trying again while the database does not answer."""
        deadline = time.monotonic() + PERSIST_SECONDS
        while True:
            try:
                change()
                return
            except UNAVAILABLE as error:
                if connection_to_write().in_atomic_block or time.monotonic() > deadline:
                    raise
                logger.warning("Job %r can't report now (%s); trying again.", self.lifecycle.job_id, error)
                time.sleep(PERSIST_PAUSE_SECONDS)

    def _write(self) -> bool:
        """Write what is noted; return whether that was anything. What the database did not take waits."""
        self._due = time.monotonic() + report_seconds()
        self._take()
        has_any = bool(self._waiting)
        try:
            while self._waiting:
                if reports := [each.decision for each in takewhile(lambda each: each.decision, self._waiting)]:
                    self.lifecycle.write([report for report in reports if report and not report.is_written])
                else:
                    self.call(self._waiting[0].entry)
                del self._waiting[: max(1, len(reports))]
        except Error:
            raise
        except BaseException as error:
            self._drop(error)
            raise
        if has_any:
            self.has_begun.set()
        return has_any

    def _take(self) -> None:
        """Take what is noted; a tick that waits and is surely not written is joined with what came since."""
        if len(self._waiting) >= MOST_WAITING:
            return
        if self._waiting and self._waiting[-1].is_superseded and self.notes.join(self._waiting[-1].entry):
            self._waiting.pop()
        self._waiting += map(Waiting.of, self.notes.take())

    def _back_off(self, error: Error) -> None:
        """Leave the database alone for a while. Within the caller's transaction, which is broken now, raise instead."""
        if connection_to_write().in_atomic_block:
            raise error
        self._rest()
        logger.warning("Job %r can't report now (%s); it goes on.", self.lifecycle.job_id, error)

    def _rest(self) -> None:
        self._backoff_until = time.monotonic() + BACKOFF_SECONDS

    def after_fork(self) -> None:
        """Have locks of its own in a forked child, since a thread that the child does not have may have held them.

        What was noted before is the parent's to write.
        """
        self.notes.lock = threading.RLock()
        self._writing = threading.Lock()
        self.notes.take()
        self._waiting = []

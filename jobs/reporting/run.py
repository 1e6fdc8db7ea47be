"""One run of a job, and how what is noted of it gets written: by the report thread, or by the job's own code."""

import copy
import logging
import threading
import time
from collections.abc import Callable

from django.db import Error

from ..database import UNAVAILABLE, connection_to_write
from ..exceptions import JobCancelled, JobError
from ..lifecycle import ProcessingJobLifecycle
from ..progress_report import report_seconds
from .notes import Entry, Notes

logger = logging.getLogger(__name__)

BACKOFF_SECONDS = 1.0  # without reports after the database did not answer: each try may hold up the work
PERSIST_SECONDS = 300.0  # for which it is tried to record a job's start and end
PERSIST_PAUSE_SECONDS = 1.0  # between two of these tries


class Run:
    """One run of a job. It is written with one connection at a time, in the order in which things were noted.

    Args:
        lifecycle: Of the attempt.

    """

    def __init__(self, lifecycle: ProcessingJobLifecycle) -> None:
        self.lifecycle = lifecycle
        self.notes = Notes(lifecycle.job_id)
        self.is_beside = False  # the report thread writes it, and not the job's own code
        self.is_ending = False  # its end is the last that was noted
        self.has_begun, self.has_ended = threading.Event(), threading.Event()
        self.stopped_by: Exception | None = None  # why it is to stop, as the report thread has learned
        self.failure = ""  # by what it has failed
        self._caller = connection_to_write()  # of the thread that began it
        self._due = float("-inf")  # the next tick, by the monotonic clock
        self._backoff_until = float("-inf")  # after the database did not answer
        self._give_up_at = float("inf")  # of the end
        self._writing = threading.Lock()  # a thread that finds it taken leaves the writing to the other

    @property
    def is_held(self) -> bool:
        """Whether the job's own code has a transaction open, beside which the database takes no other writer."""
        return self._caller.vendor == "sqlite" and self._caller.in_atomic_block

    def is_due(self, *, is_tick: bool) -> bool:
        """Return whether the report thread is to write now."""
        is_wanted = is_tick or self.notes.has_entries
        return is_wanted and not self.is_held and time.monotonic() >= self._backoff_until

    def stop(self, error: Exception) -> None:
        """Have the job's code raise an error as soon as it reports."""
        self.stopped_by = error
        self.notes.must_pause = True
        self.has_begun.set()

    def pause(self) -> None:
        """Do what is to be done between two reports of the job's code: stop, or write what is due.

        Raises:
            JobCancelled: Somebody asked for the job to be cancelled.

        """
        if self.stopped_by is not None:
            raise copy.copy(self.stopped_by)
        if not self.is_beside and (self.notes.has_entries or time.monotonic() >= self._due):
            self.flush(waits=False)

    def flush(self, *, waits: bool = True) -> None:
        """Write now what is noted.

        Args:
            waits: Whether to wait for another thread that is writing.

        Raises:
            JobCancelled: Somebody asked for the job to be cancelled.

        """
        self.write(waits=waits)
        if self.lifecycle.cancel_requested:
            raise JobCancelled(self.lifecycle.job_id)

    def write(self, *, waits: bool = False) -> None:
        """Write what is noted; without ``waits`` only if no other thread does. A silent database delays it.

        Raises:
            Error: Of the caller's transaction, which is broken now.

        """
        if not self._writing.acquire(blocking=waits):
            return
        try:
            while time.monotonic() >= self._backoff_until and self._write():
                if not self.notes.has_entries:  # of another thread, meanwhile
                    break
        except Error as error:
            if connection_to_write().in_atomic_block:
                raise
            self._backoff_until = time.monotonic() + BACKOFF_SECONDS
            logger.warning("Job %r can't report now (%s); it goes on.", self.lifecycle.job_id, error)
        finally:
            self._writing.release()

    def write_last(self) -> None:
        """Write what is noted, once no other thread does, trying again while the database does not answer."""
        with self._writing:
            self.persist(self._write)
            self._due = float("-inf")  # what is reported behind the end is to be refused at once

    def write_beside(self) -> None:
        """Write what is noted, in the report thread. It raises nothing: the job's code is told."""
        try:
            self.write()
            if self.lifecycle.cancel_requested and not self.is_ending:
                self.stop(JobCancelled(self.lifecycle.job_id))
        except JobError as error:
            if self.is_ending:
                logger.warning("The end of job %r was not recorded: %s", self.lifecycle.job_id, error)
            self.stop(error)
        except Exception as error:
            logger.exception("A report of job %r was not recorded.", self.lifecycle.job_id)
            self.stop(error)
        if self.is_ending and not self._is_to_be_tried_again():
            self.has_ended.set()

    def _is_to_be_tried_again(self) -> bool:
        return self.stopped_by is None and self.notes.has_entries and time.monotonic() < self._give_up_at

    def call(self, entry: Entry) -> None:
        """Write one thing that was noted."""
        name, arguments = entry
        getattr(self.lifecycle, name)(**arguments)

    def note_end(self, end: Entry) -> None:
        """Have the report thread write the run's end."""
        self.notes.add(*end)
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
        """Write what is noted; return whether that was anything. What the database did not take is noted again."""
        self._due = time.monotonic() + report_seconds()
        entries = self.notes.take()
        for position, entry in enumerate(entries):
            try:
                self.call(entry)
            except Error:
                self.notes.give_back(entries[position:])
                raise
        if entries:
            self.has_begun.set()
        return bool(entries)

    def after_fork(self) -> None:
        """Have locks of its own in a forked child, since a thread that the child does not have may have held them."""
        self.notes.lock = threading.RLock()
        self._writing = threading.Lock()

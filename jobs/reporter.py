"""Reporting from a worker's code: wrap an iterable, or count inside a ``with`` block.

with Reporter("job-123", total=len(files), unit="files") as report:
    for file in files:
        convert(file)
        report.advance()
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from django.db import InterfaceError, OperationalError

from jobs.exceptions import InvalidValue, JobCancelled, JobError
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from jobs.states import TERMINAL
from jobs.writes import connection_to_write

logger = logging.getLogger(__name__)

T = TypeVar("T")

MIN_INTERVAL = 0.1  # seconds between reports; what comes sooner is told with the next
UNAVAILABLE = (OperationalError, InterfaceError)  # what a database raises that is locked, full or away
SILENCE_SECONDS = 5.0  # without reports after the database did not answer: each try may hold up the work
RETRY_SECONDS = 1.0  # between two tries to record how the job began or ended
INSIST_SECONDS = 300.0  # for which that is tried


class Reporter:
    """One run of a job: started on entry, completed on exit, failed by an exception.

    Args:
        job: A job, its lifecycle, or its id.
        total: How many units there are, if known.
        unit: What is counted, for people: ``"files"``, ``"bytes"``.

    A database that does not answer fails no work: reports wait and are told together once it does, and the
    start and the end are tried for five minutes. Within a transaction of the caller's, its errors are raised.

    Raises:
        JobCancelled: From any report, once somebody asked for the job to be cancelled; the job is
            then marked so on exit, and the exception goes no further than the ``with`` block.

    """

    def __init__(
        self, job: ProcessingJob | ProcessingJobLifecycle | str, *, total: float | None = None, unit: str = ""
    ) -> None:
        self.lifecycle = job if isinstance(job, ProcessingJobLifecycle) else ProcessingJobLifecycle(job)
        self.total = total
        self.unit = unit
        self.current: float = 0
        self.result: Any = None  # what the job completes with
        self.summary = ""  # the same in words, its last message
        self._told = float("-inf")  # when the last report was, by the monotonic clock
        self._untold: dict[str, Any] = {}
        self._silent_until = float("-inf")  # after the database did not answer

    def __enter__(self) -> Self:
        self._insist(partial(self.lifecycle.mark_started, metadata={"unit": self.unit} if self.unit else None))
        if self.total is not None:
            self.report(current=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self.lifecycle.job.status in TERMINAL:
            return isinstance(error, JobCancelled)
        if error is None:
            self._complete()
        elif isinstance(error, JobCancelled):
            self._insist(self.lifecycle.mark_cancelled)
            return True
        else:
            self._fail(error)
        return False

    def advance(self, by: float = 1, *, message: str = "") -> None:
        """Count ``by`` more units as done."""
        self.report(current=self.current + by, message=message)

    def report(
        self, *, current: float | None = None, total: float | None = None, message: str = "", stage: str | None = None
    ) -> None:
        """Tell how far the job is: at once if the last report is a while ago or the stage changes, else soon."""
        if total is not None:
            self.total = total
        if current is not None:
            self.current = current
        if self.total is not None and self.current > self.total:
            self.total = self.current  # the total was a guess; being wrong about it is no reason to fail
        if message:
            self._untold["message"] = message
        if stage is not None:
            self._untold["stage"] = stage
        self._untold["current"] = self.current
        if stage is not None or time.monotonic() - self._told >= MIN_INTERVAL:
            self.flush()

    def flush(self) -> None:
        """Tell now what is not told yet.

        Raises:
            JobCancelled: Somebody asked for the job to be cancelled.

        """
        self._tell()
        if self.lifecycle.cancel_requested:
            raise JobCancelled(self.lifecycle.job_id)

    def _tell(self) -> None:
        """Report what is not told. A database that does not answer delays that, and does not fail the work."""
        if not self._untold or time.monotonic() < self._silent_until:
            return
        try:
            self.lifecycle.mark_progress(total=self.total, **self._untold)
        except UNAVAILABLE as error:
            if connection_to_write().in_atomic_block:
                raise  # of the caller's transaction, which is broken now
            self._silent_until = time.monotonic() + SILENCE_SECONDS
            logger.warning("Job %r can't report now (%s); it goes on.", self.lifecycle.job_id, error)
        else:
            self._untold = {}
            self._told = time.monotonic()

    def _insist(self, change: Callable[[], None]) -> None:
        """Make a change that must not be lost, waiting for a database that does not answer."""
        deadline = time.monotonic() + INSIST_SECONDS
        while True:
            try:
                return change()
            except UNAVAILABLE as error:
                if connection_to_write().in_atomic_block or time.monotonic() > deadline:
                    raise
                logger.warning("Job %r can't report now (%s); trying again.", self.lifecycle.job_id, error)
                time.sleep(RETRY_SECONDS)

    def _complete(self) -> None:
        """End well, even if a cancellation was asked for meanwhile: the work is done."""
        try:
            self._tell()
            self._insist(partial(self.lifecycle.mark_completed, self.summary, result=self.result))
        except InvalidValue as error:  # the result can't be stored; left alone, the job would run for ever
            self._fail(error)
            raise

    def _fail(self, error: BaseException) -> None:
        """End badly; whatever hinders that must not hide the error itself."""
        try:
            self._insist(partial(self.lifecycle.mark_failed, error=error))
        except JobError as refused:  # it is over already: ended or started anew by somebody else
            logger.warning("The failure of job %r was not recorded: %s", self.lifecycle.job_id, refused)
        except Exception:
            logger.exception("The failure of job %r could not be recorded.", self.lifecycle.job_id)


def track(items: Iterable[T], job: ProcessingJob | ProcessingJobLifecycle | str, *, unit: str = "items") -> Iterator[T]:
    """Yield the items while the job shows how many are done; it completes with the last.

    A loop that is left early, or a cancellation, ends the iteration and marks the job cancelled.
    """
    total = len(items) if isinstance(items, Sized) else None
    with Reporter(job, total=total, unit=unit) as report:
        for item in items:
            try:
                yield item
            except GeneratorExit:
                raise JobCancelled(report.lifecycle.job_id) from None
            report.advance()

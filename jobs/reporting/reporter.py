"""One run of a job, counted inside a ``with`` block."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from django.db import Error

from .. import validation
from ..database import UNAVAILABLE, connection_to_write
from ..exceptions import InvalidTransition, InvalidValue, JobCancelled, JobError
from ..lifecycle import ProcessingJobLifecycle
from ..models import ProcessingJob
from ..states import TERMINAL, Status

logger = logging.getLogger(__name__)

T = TypeVar("T")

MIN_INTERVAL = 0.1  # seconds between reports; what comes sooner is sent with the next
BACKOFF_SECONDS = 1.0  # without reports after the database did not answer: each try may hold up the work
PERSIST_SECONDS = 300.0  # for which it is tried to record a job's start and end
PERSIST_PAUSE_SECONDS = 1.0  # between two of these tries


class Reporter:
    """One run of a job: started on entry, completed on exit, failed by an exception. Threads may share it.

    Args:
        job: A job, its lifecycle, or its id.
        total: How many units there are, if known.
        unit: What is counted, for people: ``"files"``, ``"bytes"``.

    No argument of a report fails the work: a text that is too long is cut, a value that is not a number is left out, a
    result that can't be stored is replaced by the reason, and a warning is logged once. Nor does a database that does
    not answer: reports wait and are sent together once it does, and recording the start and the end is tried for five
    minutes. Within a transaction of the caller's, the database's errors are raised.

    Raises:
        JobCancelled: On entry, if the job was cancelled while it waited. From any report, once somebody asked for
            the job to be cancelled; it is then marked so on exit, and the exception goes no further than the ``with``
            block. The code behind the block runs in that case too: ``report.lifecycle.job.status`` says which it is.

    A block that is left by ``GeneratorExit``, with a generator that nobody goes on with, is left for a reason that is
    not known here: the job fails with the exception that is being handled meanwhile, or else says just that.

    """

    def __init__(
        self, job: ProcessingJob | ProcessingJobLifecycle | str, *, total: float | None = None, unit: str = ""
    ) -> None:
        self.lifecycle = job if isinstance(job, ProcessingJobLifecycle) else ProcessingJobLifecycle(job)
        self._has_warned = False
        self.total = None if total is None else self._count(lambda: total)
        self.unit = unit
        self.current: float = 0
        self.result: Any = None  # what the job completes with
        self.summary = ""  # the same in words, its last message
        # What was being handled when it began, and so has not ended it. By its id: it holds all frames that it came
        # through, and one of them may hold the generator, which would not end then before it is collected as garbage.
        self._handled = id(None)
        self._sent_at = float("-inf")  # by the monotonic clock
        self._pending: dict[str, Any] = {}  # what is not sent yet
        self._backoff_until = float("-inf")  # after the database did not answer
        self._lock = threading.RLock()  # of what is counted: also by a loop that is collected as garbage meanwhile
        self._sending = threading.Lock()  # a thread that finds it taken does not wait, and leaves sending to the other

    def __reduce__(self) -> Any:
        raise TypeError("A Reporter is one run in one process; send its lifecycle, and make a Reporter of that there.")

    def __enter__(self) -> Self:
        self._handled = id(sys.exception())
        unit = validation.fitting_text(self.unit, validation.MAX_STAGE)
        try:
            try:
                self._persist(partial(self.lifecycle.mark_started, metadata={"unit": unit} if unit else None))
            except InvalidValue as error:  # no room is left in the metadata
                self._warn_once(error)
                self._persist(self.lifecycle.mark_started)
        except InvalidTransition as refused:
            if refused.current == Status.CANCELLED:
                raise JobCancelled(self.lifecycle.job_id) from refused
            raise
        try:
            if self.total is not None:
                self.report(current=0)
        except BaseException as error:  # a cancellation, say: the job must not go on without its worker
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        is_cancelled = isinstance(error, JobCancelled) and error.job_id == self.lifecycle.job_id
        if self._is_over():
            return is_cancelled
        if error is None or (isinstance(error, SystemExit) and not error.code):
            self._send_last()
            summary = validation.fitting_text(self.summary, validation.MAX_MESSAGE)
            # Even if a cancellation was asked for meanwhile: the work is done.
            self._persist(partial(self.lifecycle.mark_completed, summary, result=self._storable(self.result)))
        elif is_cancelled:
            self._end(self.lifecycle.mark_cancelled)
        elif isinstance(error, GeneratorExit):
            self._end(partial(self._mark_left, self._why_left(error)))
        else:
            self._end(partial(self.lifecycle.mark_failed, error=error))
        return is_cancelled

    def track(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, and count each as done once the next is asked for; that takes less than 0.1 µs.

        They are counted together, with the report that follows: ``current`` is behind by up to `MIN_INTERVAL` seconds.
        """
        return self._counted(items, nullcontext())

    def track_all(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items in a block of this reporter: what `jobs.reporting.track` does."""
        return self._counted(items, self)

    def _counted(self, items: Iterable[T], block: AbstractContextManager[object, bool | None]) -> Iterator[T]:
        clock, done = time.monotonic, 0  # items that are not counted yet
        with block:
            due = self._sent_at + MIN_INTERVAL
            try:
                for item in items:
                    yield item
                    done += 1
                    if clock() >= due:
                        done, by = 0, done
                        self.advance(by)
                        due = clock() + MIN_INTERVAL
            finally:
                if done:
                    self._report(lambda: self.current + done, at_once=False)

    def advance(self, by: float = 1, *, message: str | None = None) -> None:
        """Count ``by`` more units as done."""
        self._report(lambda: self.current + by, message=message)

    def report(
        self,
        *,
        current: float | None = None,
        total: float | None = None,
        message: str | None = None,
        stage: str | None = None,
    ) -> None:
        """Report how far the job is: at once if the last report is a while ago or the stage changes, else soon."""
        total = None if total is None else self._count(lambda: total)
        self._report(lambda: self.current if current is None else current, total=total, message=message, stage=stage)

    def flush(self) -> None:
        """Send now what is not sent yet.

        Raises:
            JobCancelled: Somebody asked for the job to be cancelled.

        """
        self._send()
        if self.lifecycle.cancel_requested:
            raise JobCancelled(self.lifecycle.job_id)

    def _report(
        self,
        count: Callable[[], float],
        *,
        total: float | None = None,
        message: str | None = None,
        stage: str | None = None,
        at_once: bool = True,
    ) -> None:
        """Report, or if it is not to be at once, have it sent with the next report."""
        with self._lock:
            if total is not None:
                self.total = total
            self.current = self._pending["current"] = self._count(count, otherwise=self.current)
            if self.total is not None and self.current > self.total:
                self.total = self.current  # the total was a guess; being wrong about it is no reason to fail
            self._pending["total"] = self.total
            if message is not None:
                self._pending["message"] = validation.fitting_text(message, validation.MAX_MESSAGE)
            if stage is not None:
                self._pending["stage"] = validation.fitting_text(stage, validation.MAX_STAGE)
        if at_once and (stage is not None or time.monotonic() - self._sent_at >= MIN_INTERVAL):
            self.flush()

    def _send(self) -> None:
        """Send what is pending. A database that does not answer delays that, and does not fail the work."""
        if not self._sending.acquire(blocking=False):
            return
        try:
            while self._pending and time.monotonic() >= self._backoff_until:
                self._send_pending()
                if "stage" not in self._pending:  # of another thread, meanwhile
                    break
        finally:
            self._sending.release()

    def _send_pending(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, {}
        try:
            self.lifecycle.mark_progress(**pending)
        except Error as error:
            with self._lock:
                self._pending = {**pending, **self._pending}
            if connection_to_write().in_atomic_block:
                raise  # of the caller's transaction, which is broken now
            self._backoff_until = time.monotonic() + BACKOFF_SECONDS
            logger.warning("Job %r can't report now (%s); it goes on.", self.lifecycle.job_id, error)
        else:
            self._sent_at = time.monotonic()

    def _send_last(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, {}
        if pending:
            self._persist(partial(self.lifecycle.mark_progress, **pending))

    def _persist(self, change: Callable[[], None]) -> None:
        """Record a change that must not be lost, trying again while the database does not answer."""
        deadline = time.monotonic() + PERSIST_SECONDS
        while True:
            try:
                return change()
            except UNAVAILABLE as error:
                if connection_to_write().in_atomic_block or time.monotonic() > deadline:
                    raise
                logger.warning("Job %r can't report now (%s); trying again.", self.lifecycle.job_id, error)
                time.sleep(PERSIST_PAUSE_SECONDS)

    def _end(self, change: Callable[[], None]) -> None:
        """Record a bad end. What hinders that is logged, since it must not hide the error of the work itself."""
        try:
            self._send_last()
        except Exception as refused:
            logger.warning("The last report of job %r was not recorded: %s", self.lifecycle.job_id, refused)
        try:
            self._persist(change)
        except JobError as refused:  # it is over already: ended or started anew by somebody else
            logger.warning("The end of job %r was not recorded: %s", self.lifecycle.job_id, refused)
        except Exception:
            logger.exception("The end of job %r could not be recorded.", self.lifecycle.job_id)

    def _mark_left(self, why: BaseException | str) -> None:
        """End the job of a generator that was left: perhaps since its cancellation was asked for."""
        if self.lifecycle.cancel_requested:  # as the last report may have learned
            self.lifecycle.mark_cancelled()
        else:
            self.lifecycle.mark_failed(error=why)

    def _why_left(self, left: GeneratorExit) -> BaseException | str:
        """Return the exception by which a generator was left, as far as that can be told, or words.

        An exception on its way out of a loop closes the loop's generator before anybody handles it.
        """
        if left.__context__ is not None and id(left.__context__) != self._handled:
            return left.__context__
        done = f"{self.current:g}" if self.total is None else f"{self.current:g} of {self.total:g}"
        return f"The loop was left after {done} {self.unit}".rstrip() + ", by an exception, return or break"

    def _is_over(self) -> bool:
        """Return whether the work itself has marked the job's end."""
        try:
            return self.lifecycle.job.status in TERMINAL
        except (Error, JobError):
            return False

    def _count(self, count: Callable[[], Any], otherwise: float | None = None) -> Any:
        """Return a count, or ``otherwise`` if it is not a number."""
        try:
            return validation.number(count(), "count")
        except Exception as error:  # whatever a sum with a foreign object raises
            self._warn_once(error)
            return otherwise

    def _storable(self, result: Any) -> Any:
        """Return a result, or why it can't be stored."""
        try:
            return validation.json_value(result, "result")
        except InvalidValue as error:
            self._warn_once(error)
            return f"(not stored: {error})"

    def _warn_once(self, error: Exception) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "A report of job %r holds what can't be stored: %s", self.lifecycle.job_id, validation.in_words(error)
            )

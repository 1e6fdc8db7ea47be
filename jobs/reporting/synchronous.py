"""The block of a run in ordinary code: how its start and its end are written."""

import logging
import sys
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

from django.db import Error

from .. import validation
from ..database import connection_to_write
from ..exceptions import InvalidTransition, InvalidValue, JobCancelled, JobError
from ..lifecycle import ProcessingJobLifecycle
from ..states import TERMINAL, Status
from .block import Block
from .endings import bad_end, good_end, is_good
from .entries import Entry
from .transactions import Outcome, can_be_written_beside

logger = logging.getLogger(__name__)

WAIT_SECONDS = 2.0  # for the report thread to write a start or an end that the code itself can't write


class SyncBlock(Block):
    """A block of ``with``, and the start and end of any."""

    lifecycle: ProcessingJobLifecycle
    unit: str
    result: Any
    summary: str
    _kind: str | None
    _plan: Any
    _size: float | None
    usual_kind: str | None = None  # of a job that has none

    @property
    @abstractmethod
    def total(self) -> float | None:
        """How many units there are, if known."""

    def __enter__(self) -> Self:
        self._handled = id(sys.exception())
        self._begin_run()
        self._enter()
        return self

    def _begin_run(self) -> None:
        unit = validation.fitting_text(self.unit, validation.MAX_STAGE)
        kind = self._kind
        if kind is None and self.usual_kind is not None and not self.lifecycle.job.kind:
            kind = self.usual_kind
        start: dict[str, Any] = {"kind": kind, "plan": self._plan, "size": self._size}
        start |= {"metadata": {"unit": unit}} if unit else {}
        is_beside = can_be_written_beside(self.lifecycle.job_id, self._thread)
        start |= {"worker": self._thread.lease.worker_id} if is_beside else {}  # which the thread renews
        try:
            if is_beside and connection_to_write().in_atomic_block:
                self._begin_beside(start)
            else:
                self._begin(start)
                if is_beside:
                    self._add()
                else:
                    Outcome.of_transaction(self._run, _nothing)
        except (KeyboardInterrupt, SystemExit) as error:  # the job must not go on without its worker
            self._end_run(error)
            raise

    def _begin(self, start: dict[str, Any]) -> None:
        try:
            try:
                self._run.persist(partial(self.lifecycle.mark_started, **start))
            except InvalidValue as error:  # no room is left in the metadata
                self._notes.warn_once(error)
                self._run.persist(partial(self.lifecycle.mark_started, **{**start, "metadata": None}))
        except InvalidTransition as refused:
            self._raise(refused)
        self._know_plan(self.lifecycle.job.plan)
        try:
            if self.total is not None:
                self._notes.say(current=0)
                self._run.flush()
        except BaseException as error:  # a cancellation, say: the job must not go on without its worker
            self._end_run(error)
            raise

    def _add(self) -> None:
        """Have the report thread write the run, and renew the lease that it holds; without the thread it holds none."""
        self._thread.add(self._run)
        if not self._run.is_beside:
            self._run.persist(partial(self._thread.lease.let_go, self.lifecycle.job_id))

    def _begin_beside(self, start: dict[str, Any]) -> None:
        """Have the report thread write the start, outside the transaction that is open here."""
        self._notes.add("mark_started", start)
        if self.total is not None:
            self._notes.say(current=0)
        self._thread.add(self._run)
        self._thread.wake(0)
        has_begun = self._run.has_begun.wait(WAIT_SECONDS)
        if has_begun and self._run.stopped_by is not None:
            self._thread.remove(self._run)
            self._raise(self._run.stopped_by)
        self._know_plan(self.lifecycle.job.plan if has_begun else self._plan)

    def _know_plan(self, plan: Any) -> None:
        self._notes.stages.job.plan = dict((plan and self._notes.checked(validation.plan, plan)) or ())

    def _raise(self, refused: Exception) -> None:
        if isinstance(refused, InvalidTransition) and refused.current == Status.CANCELLED:
            raise JobCancelled(self.lifecycle.job_id) from refused
        raise refused

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._leave()
        return self._is_of_this_process and self._end_run(error)

    def _end_run(self, error: BaseException | None) -> bool:
        is_cancelled = isinstance(error, JobCancelled) and error.job_id == self.lifecycle.job_id
        self._run.others.close(error)
        is_in_transaction = connection_to_write().in_atomic_block
        if self._is_over():
            self._leave_thread()
            if not isinstance(error, GeneratorExit):
                self._try(self._run.write_lines)
        elif self._run.is_beside and (is_in_transaction or self._thread.is_this or isinstance(error, GeneratorExit)):
            self._end_beside(error)
        elif error is None or is_good(error):
            self._complete(good_end(self._notes, self.summary, self.result))
        else:
            self._leave_thread()
            self._end(error)
        return is_cancelled

    def _complete(self, end: Entry) -> None:
        self._leave_thread()
        self._run.write_last()
        self._run.persist(partial(self._run.call, end))

    def _end(self, error: BaseException) -> None:
        """Record a bad end. What hinders that is logged, since it must not hide the error of the work itself."""
        self._try(self._run.write_last)
        self._try(partial(self._run.persist, partial(self._run.call, self._bad_end(error))))

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except JobError as refused:  # it is over already: ended or started anew by somebody else
            logger.warning("The end of job %r was not recorded: %s", self.lifecycle.job_id, refused)
        except Exception:
            logger.exception("The end of job %r could not be recorded.", self.lifecycle.job_id)

    def _bad_end(self, error: BaseException) -> Entry:
        name, arguments = bad_end(self.lifecycle.job_id, self._notes, error, self.unit, self._handled)
        self._run.failure = arguments.get("error", "")
        return name, arguments

    def _end_beside(self, error: BaseException | None) -> None:
        """Have the report thread write the end: a good one once the transaction has committed, any other at once.

        Also that of a generator's block, which may be garbage: that is collected anywhere, even within a query.
        """
        if error is None or is_good(error):
            end = good_end(self._notes, self.summary, self.result)
            Outcome.of_transaction(self._run, partial(self._complete, end))
            return
        self._run.note_end(self._bad_end(error))
        self._thread.wake(0)
        if not self._thread.is_this and not self._run.is_held:
            self._run.has_ended.wait(WAIT_SECONDS)

    def _leave_thread(self) -> None:
        self._thread.remove(self._run)
        self._run.is_beside, self._notes.must_pause = False, True  # what is reported from here on is refused

    def _is_over(self) -> bool:
        """Return whether the work itself has marked the job's end."""
        try:
            return self.lifecycle.job.status in TERMINAL
        except (Error, JobError):
            return False


def _nothing() -> None:
    """Do nothing: what the transaction has written says all."""

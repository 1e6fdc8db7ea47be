"""One run of a job, counted inside a ``with`` block."""

from collections.abc import Iterable, Iterator
from concurrent.futures import wait
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from .. import validation
from ..database import connection_to_write
from ..exceptions import JobCancelled
from ..lifecycle import Plan, ProcessingJobLifecycle
from ..models import ProcessingJob
from .asynchronous import AsyncBlock
from .output import Output
from .remote import RemoteReporter
from .report_thread import ReportThread
from .run import Run
from .stage import Stage
from .synchronous import WAIT_SECONDS, SyncBlock

T = TypeVar("T")


class Reporter(SyncBlock, AsyncBlock):
    """One run of a job: started on entry, completed on exit, failed by an exception. Threads may share it.

    In asynchronous code it is an ``async with`` block; its other methods are the same there, and never wait.

    Its reports are only noted; a thread writes them, ``JOBS_REPORT_SECONDS`` apart for each job, through a database
    connection of its own, so that they show also while a transaction is open (`jobs.reporting.transactions`).

    Args:
        job: A job, its lifecycle, or its id.
        total: How many units there are, if known.
        unit: What is counted, for people: ``"files"``, ``"bytes"``.
        kind: What sort of work it is, as for `ProcessingJobLifecycle.create`.
        plan: The job's stages with their weights, as there.
        size: How much there is to do, as there. Of these three, what is not given stays as it is.

    No argument of a report fails the work: a text that is too long is cut, a value that is not a number is left out, a
    result that can't be stored is replaced by the reason, and a warning is logged once. Nor does a database that does
    not answer: reports wait and are sent together once it does, and recording the start and the end is tried for five
    minutes.

    Raises:
        JobCancelled: On entry, if the job was cancelled while it waited. From any report, within a second after
            somebody asked for the job to be cancelled; it is then marked so on exit, and the exception goes no further
            than the ``with`` block. The code behind the block runs in that case too: ``report.lifecycle.job.status``
            says which it is.
        JobError: From any report: the job was deleted, or is another's by now.

    A block that is left by ``GeneratorExit``, with a generator that nobody goes on with, is left for a reason that is
    not known here: the job fails with the exception that is being handled meanwhile, or else says just that. So does a
    block that is never left, once it is garbage. An asyncio task that is cancelled fails its job, unless that was to be
    cancelled as well.

    """

    def __init__(
        self,
        job: ProcessingJob | ProcessingJobLifecycle | str,
        *,
        total: float | None = None,
        unit: str = "",
        kind: str | None = None,
        plan: Plan | None = None,
        size: float | None = None,
    ) -> None:
        self.lifecycle = job if isinstance(job, ProcessingJobLifecycle) else ProcessingJobLifecycle(job)
        self._run = Run(self.lifecycle)
        self._notes = self._run.notes
        self._thread = ReportThread.of_this_process()
        self.total = total
        self.unit = unit
        self._kind = None if kind is None else validation.fitting_text(kind, validation.MAX_KIND)
        self._plan = None if plan is None else self._notes.checked(validation.plan, plan)
        self._size = None if size is None else self._notes.number(size)
        self.result: Any = None  # what the job completes with
        self.summary = ""  # the same in words, its last message

    def __reduce__(self) -> Any:
        return self.remote().__reduce__()

    def remote(self) -> RemoteReporter:
        """Return what reports to this block from another process of this machine; a reporter that is sent becomes that.

        Raises:
            TypeError: The block is not open.

        """
        if not self.is_open:
            raise TypeError("A Reporter can be sent to another process in its block only.")
        return self._run.others.remote()

    @property
    def current(self) -> float:
        """How many units are done, of the stage that is under way if the job has weighed ones."""
        return self._notes.current

    @property
    def total(self) -> float | None:
        """How many units there are, if known; it grows with what is done."""
        return self._notes.total

    @total.setter
    def total(self, total: float | None) -> None:
        number = None if total is None else self._notes.number(total)
        if total is None or number is not None:
            self._notes.total = number

    def track(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, and count each as done once the next is asked for; that takes less than 0.1 µs."""
        return self._counted(items, nullcontext())

    def track_all(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items in a block of this reporter: what `jobs.reporting.track` does."""
        return self._counted(items, self)

    def _counted(self, items: Iterable[T], block: AbstractContextManager[object, bool | None]) -> Iterator[T]:
        with block:
            yield from self._notes.loop(items, self._run.pause)

    def advance(self, by: float = 1, *, message: str | None = None) -> None:
        """Count ``by`` more units as done."""
        self._notes.advance(by)
        if message is not None:
            self._notes.say(message=message)
        if self._notes.must_pause:
            self._run.pause()

    def report(
        self,
        *,
        current: float | None = None,
        total: float | None = None,
        message: str | None = None,
        stage: str | None = None,
    ) -> None:
        """Report how far the job is: soon, and at once if the stage changes."""
        self._notes.say(current=current, total=total, message=message, stage=stage)
        if self._notes.must_pause:
            self._run.pause()

    def stage(
        self, label: str, *, total: float | None = None, weight: float | None = None, plan: Plan | None = None
    ) -> Stage:
        """Begin a stage, which ends the one before; in a ``with`` block, those that begin in the block are within it.

        If the job has a plan, or once a weight or a plan was given for a stage, what is counted counts in the stage,
        and the job is as far as its stages: the sum of weight times fraction, over the sum of the weights. Its
        percentage never goes back. Without, a stage is a label, as in `report`.

        Args:
            label: What people call it; within another it is shown as «import › parse», cut to 200 characters.
            total: How many units there are in it, if known. Else it counts as done when it ends, or as its own stages.
            weight: Its share of the work, above 0; else the plan's, or 1 if it is in no plan.
            plan: The stages in it, as for `ProcessingJobLifecycle.create`.

        """
        part = self._notes.begin(label, total=total, weight=weight, plan=plan)
        if self._notes.must_pause:
            self._run.pause()
        return Stage(self._notes, part)

    def child(self, name: str = "", *, weight: float = 1, **options: Any) -> ProcessingJobLifecycle:
        """Make a job that is a part of this one, which from then on shows how far its children are.

        Unlike a report, it raises what `ProcessingJobLifecycle.create` raises, which takes the options.
        """
        if self._notes.must_pause:
            self._run.pause()
        return ProcessingJobLifecycle.create(name=name, parent=self.lifecycle, weight=weight, **options)

    def log(self, text: str, *, level: str = "info") -> None:
        """Add a line to the job's log, at a level that ``logging`` names; one of over 2,000 characters is cut."""
        self._notes.log(text, level)
        if self._notes.must_pause:
            self._run.pause()

    def output(self, name: str = "output") -> Output:
        """Return a stream of output, as a text file: ``report.output("answer").write(part)``.

        Raises:
            InvalidValue: The name is none: 1 to 64 letters, digits, ``.``, ``_``, ``-``.

        """
        return Output(self._notes, validation.stream_name(name), self._run.pause)

    @property
    def cancel_requested(self) -> bool:
        """Whether the next report will raise `JobCancelled`."""
        if self._run.others.link is not None:
            return self._run.others.link.cancel_requested
        return isinstance(self._run.stopped_by, JobCancelled) or self.lifecycle.cancel_requested

    def flush(self) -> None:
        """Write now what is not written yet; within a transaction, wait for that two seconds at most.

        Raises:
            JobCancelled: Somebody asked for the job to be cancelled.

        """
        if self._run.others.link is not None:
            self._run.pause()
        elif not self._run.is_beside or not connection_to_write().in_atomic_block:
            self._run.flush()
        else:
            wait([self._thread.call(self._run.write_beside)], WAIT_SECONDS)
            self._run.pause()

"""Rich's progress display whose tasks are the progress of a job as well.

from jobs.reporting.rich import Progress

with Progress(job="job-123") as progress:
    for row in progress.track(rows):
        convert(row)
"""

import sys
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from rich.progress import Progress as RichProgress
from rich.progress import TaskID
from rich.text import Text

from ..lifecycle import ProcessingJobLifecycle
from ..models import ProcessingJob
from .bars import is_outermost, is_over, reporter_for
from .reporter import Reporter

T = TypeVar("T")


class Progress(RichProgress):
    """A display whose tasks, together, count for a job. Everything else is as in Rich.

    With ``job`` its ``with`` block is a run of that job, as a `Reporter`'s is; without, or within a block of the same
    job, it counts for the current reporter, and is an ordinary display where there is none.

    What all tasks have done is the count, and what they have to do the total, while each of them says it; a total that
    is known stays so. What a removed task has done stays counted. The description that was set last is the message. The
    loop of `track`, and what the thread calls that has begun the display, raise `JobCancelled`; other threads ask
    ``report.cancel_requested``.

    Args:
        columns: As of Rich.
        job: A job, its lifecycle, its id, or a `Reporter` whose block is open.
        unit: What is counted, for people.
        options: As of Rich. With ``disable=True`` only the job's progress is shown.

    """

    def __init__(
        self,
        *columns: Any,
        job: Reporter | ProcessingJob | ProcessingJobLifecycle | str | None = None,
        unit: str = "",
        **options: Any,
    ) -> None:
        super().__init__(*columns, **options)
        self.report, self._is_own = reporter_for(job, unit)
        self._is_block = False
        self._counts = False  # it has begun, as the outermost bar
        self._thread: int | None = None  # that has begun it
        self._removed = 0.0  # what tasks have done that were removed

    def start(self) -> None:
        """Begin to show, and the run that it is."""
        if self.report is not None:
            if self._is_own and not self.report.is_open:
                self.report.__enter__()
            self._counts, self._thread = is_outermost(self, self.report), threading.get_ident()
            self._note()
        super().start()

    def stop(self) -> None:
        """Cease to show. Outside of a ``with`` block that completes the run, or fails it by the exception in flight."""
        super().stop()
        if self.report is None or self._is_block:
            return
        is_over(self, self.report)
        if self._is_own and self.report.is_open:
            self.report.__exit__(None, self.report.unless_handled_before(sys.exception()), None)

    def __enter__(self) -> Self:
        self._is_block = True
        return super().__enter__()

    def __exit__(  # type: ignore[override]  # it may keep a cancellation to itself
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        super().__exit__(kind, error, trace)
        self._is_block = False
        if self.report is None:
            return False
        is_over(self, self.report)
        return self._is_own and self.report.__exit__(kind, error, trace)

    def track(self, *args: Any, **kwargs: Any) -> Iterable[Any]:
        """Yield the items of a sequence, as Rich does, until the job is cancelled."""
        for item in super().track(*args, **kwargs):
            yield item
            self._pause()

    def add_task(self, description: str, *args: Any, **kwargs: Any) -> TaskID:
        """Add a task, as Rich does."""
        return self._told(super().add_task, description, *args, **kwargs, said=description)

    def update(self, task_id: TaskID, **kwargs: Any) -> None:
        """Update a task, as Rich does."""
        self._told(super().update, task_id, **kwargs, said=kwargs.get("description"))

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Advance a task, as Rich does."""
        self._told(super().advance, task_id, advance)

    def reset(self, task_id: TaskID, **kwargs: Any) -> None:
        """Reset a task, as Rich does."""
        self._told(super().reset, task_id, **kwargs, said=kwargs.get("description"))

    def remove_task(self, task_id: TaskID) -> None:
        """Remove a task, as Rich does."""
        with self._lock:
            self._removed += self._tasks[task_id].completed
            super().remove_task(task_id)
            self._note()

    def _told(self, change: Callable[..., T], *args: Any, said: str | None = None, **kwargs: Any) -> T:
        with self._lock:
            changed = change(*args, **kwargs)
            self._note(said)
        if threading.get_ident() == self._thread:  # and not Rich's own, which nobody hears
            self._pause()
        return changed

    def _pause(self) -> None:
        if self._counts and self.report is not None and self.report.is_open:
            self.report.advance(0)

    def _note(self, said: str | None = None) -> None:
        if self._counts and self.report is not None:
            tasks = self.tasks
            done, total = self._removed, self._removed
            for task in tasks:
                done += task.completed
                total += task.total or 0
            is_known = all(task.total is not None for task in tasks)
            message = None if said is None else Text.from_markup(said).plain
            self.report.note(current=done, total=total if is_known and tasks else None, message=message)

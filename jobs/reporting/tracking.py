"""A loop whose job shows how far it is."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from ..exceptions import JobCancelled
from ..lifecycle import ProcessingJobLifecycle
from ..models import ProcessingJob
from .reporter import Reporter

T = TypeVar("T")


def track(items: Iterable[T], job: ProcessingJob | ProcessingJobLifecycle | str, *, unit: str = "items") -> Iterator[T]:
    """Yield the items while the job shows how many are done; it completes with the last.

    A loop that is left early, or a cancellation, ends the iteration and marks the job cancelled. The code after the
    loop runs in that case too.
    """
    try:
        total = len(items)  # type: ignore[arg-type]  # or there is none
    except Exception:  # whatever a foreign __len__ raises
        total = None
    with Reporter(job, total=total, unit=unit) as report:
        for item in items:
            try:
                yield item
            except GeneratorExit:
                raise JobCancelled(report.lifecycle.job_id) from None
            report.advance()

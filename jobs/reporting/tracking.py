"""A loop whose job shows how far it is."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from ..lifecycle import ProcessingJobLifecycle
from ..models import ProcessingJob
from .reporter import Reporter

T = TypeVar("T")


def track(items: Iterable[T], job: ProcessingJob | ProcessingJobLifecycle | str, *, unit: str = "items") -> Iterator[T]:
    """Yield the items while the job shows how many are done; it completes with the last.

    A loop that is left before marks the job failed. Nothing tells it by what it was left, unless an exception is being
    handled; in a ``with Reporter(…)`` block, `Reporter.track` counts, and the block knows: it fails with the exception,
    and completes after a ``break``. A cancellation ends the iteration and marks the job cancelled. The code after the
    loop runs in that case too.
    """
    try:
        total = len(items)  # type: ignore[arg-type]  # or there is none
    except Exception:  # whatever a foreign __len__ raises
        total = None
    return Reporter(job, total=total, unit=unit).track_all(items)

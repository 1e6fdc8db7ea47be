"""A loop whose job shows how far it is."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TypeVar

from ..lifecycle import ProcessingJobLifecycle
from ..models import ProcessingJob
from .asynchronous import AsyncLoop
from .reporter import Reporter

T = TypeVar("T")


def track(items: Iterable[T], job: ProcessingJob | ProcessingJobLifecycle | str, *, unit: str = "items") -> Iterator[T]:
    """Yield the items while the job shows how many are done; it completes with the last.

    A loop that is left before marks the job failed. Nothing tells it by what it was left, unless an exception is being
    handled; in a ``with Reporter(…)`` block, `Reporter.track` counts, and the block knows: it fails with the exception,
    and completes after a ``break``. A cancellation ends the iteration and marks the job cancelled. The code after the
    loop runs in that case too.
    """
    return Reporter(job, total=_length(items), unit=unit).track_all(items)


def atrack(
    items: AsyncIterable[T] | Iterable[T], job: ProcessingJob | ProcessingJobLifecycle | str, *, unit: str = "items"
) -> AsyncIterator[T]:
    """Do the same for ``async for``, over an asynchronous or an ordinary iterable."""
    return AsyncLoop(items, Reporter(job, total=_length(items), unit=unit))


def _length(items: object) -> int | None:
    try:
        return len(items)  # type: ignore[arg-type]  # or there is none
    except Exception:  # whatever a foreign __len__ raises
        return None

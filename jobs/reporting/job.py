"""A job, as the author of its work has it: its lifecycle, and what reports."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TypeVar

from ..lifecycle import Plan, ProcessingJobLifecycle
from .reporter import Reporter
from .tracking import atrack, track

T = TypeVar("T")


class Job(ProcessingJobLifecycle):
    """One attempt of one job, all that may happen to it, and its reports.

    Args:
        job_or_id: A job, or the id of one. `Job.create` makes one.

    """

    def report(
        self,
        *,
        total: float | None = None,
        unit: str = "",
        kind: str | None = None,
        plan: Plan | None = None,
        size: float | None = None,
    ) -> Reporter:
        """Return a reporter, for a ``with`` or an ``async with`` block.

        Args:
            total: How many units there are, if known.
            unit: What is counted, for people: ``"files"``, ``"bytes"``.
            kind: What sort of work it is, as for `create`.
            plan: Its stages with their weights, as there.
            size: How much there is to do, as there. Of these three, what is not given stays as it is.

        """
        return Reporter(self, total=total, unit=unit, kind=kind, plan=plan, size=size)

    def track(self, items: Iterable[T], *, unit: str = "items") -> Iterator[T]:
        """Yield the items while the job shows how many are done: `jobs.reporting.track`."""
        return track(items, self, unit=unit)

    def atrack(self, items: AsyncIterable[T] | Iterable[T], *, unit: str = "items") -> AsyncIterator[T]:
        """Do the same for ``async for``, over an asynchronous or an ordinary iterable."""
        return atrack(items, self, unit=unit)

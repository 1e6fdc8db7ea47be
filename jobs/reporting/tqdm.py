"""tqdm whose bar is the progress of a job as well: existing code changes its import and names the job.

from jobs.reporting.tqdm import tqdm

for row in tqdm(rows, job="job-123"):
    convert(row)
"""

import sys
from collections.abc import Iterator
from typing import Any

from tqdm.auto import tqdm as tqdm_auto

from .bars import is_outermost, is_over, reporter_for
from .reporter import Reporter


class _Nowhere:
    """A file for a bar that is not to be seen."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Have nothing to flush."""


class tqdm(tqdm_auto):  # noqa: N801  # its users write it so
    """A bar that counts for a job. Everything else is as in tqdm.

    With ``job`` it is a run of that job: one that is looped over as `jobs.reporting.track` is, one in a ``with`` block
    as a `Reporter` is. One that is updated by hand begins when it is made and completes when it is closed; it fails if
    an exception closes it. Without ``job``, or within a block of the same job, it counts for the current reporter, and
    is an ordinary bar where there is none.

    The description that it is given is a stage; what `set_description` and `set_postfix` say later, a message. Of bars
    within a bar only the outermost counts.

    Args:
        iterable: What to loop over.
        args: As of tqdm.
        job: A job, its lifecycle, its id, or a `Reporter` whose block is open.
        kwargs: As of tqdm. With ``disable=True`` nothing is reported either; with ``disable=None``, where there is no
            terminal, nothing is shown but the job's progress.

    """

    _report: Reporter | None = None  # that it counts for, while it may
    _is_own = False  # the run is this bar
    _is_block = False  # what it ends with is known to the loop or the block that it is
    _counts: bool | None = None  # it has begun, as the outermost bar
    _stage = _message = ""

    def __init__(self, iterable: Any = None, *args: Any, job: Any = None, **kwargs: Any) -> None:
        unit = kwargs.get("unit", "it")
        report, is_own = reporter_for(job, "items" if unit == "it" else unit)
        if report is not None and kwargs.get("disable", False) is None:
            kwargs["disable"] = False
            if not (kwargs.get("file") or sys.stderr).isatty():
                kwargs["file"] = _Nowhere()
        super().__init__(iterable, *args, **kwargs)
        if self.disable or report is None:
            return
        self._report, self._is_own, self._stage = report, is_own, self.desc.removesuffix(": ")
        if iterable is None:
            self._begin()

    def _begin(self) -> None:
        """Begin to count, unless another bar does."""
        if self._report is None or self._counts is not None:
            return
        if self._is_own and not self._report.is_open:
            self._report.__enter__()
        self._counts = self._report.is_open and is_outermost(self, self._report)
        if self._counts:
            self._report.report(stage=self._stage or None, current=self.n, total=self.total)
            self._note()

    def __iter__(self) -> Iterator[Any]:
        if self._report is None or self.disable:
            yield from super().__iter__()
        elif self._is_own and not self._report.is_open:
            self._is_block = True
            self._report.total = self.total
            yield from self._report.track_all(self._items())
        else:
            self._begin()
            yield from self._report.track(super().__iter__()) if self._counts else super().__iter__()

    def _items(self) -> Iterator[Any]:
        self._begin()
        yield from super().__iter__()

    def __enter__(self) -> "tqdm":
        self._begin()
        self._is_block = True
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        super().__exit__(kind, error, trace)
        return self._is_own and self._report is not None and self._report.__exit__(kind, error, trace)

    def update(self, n: float | None = 1) -> bool | None:
        """Count ``n`` more units as done.

        Raises:
            JobCancelled: Somebody asked for the job to be cancelled.

        """
        if self.disable:
            return None
        self._begin()
        shown: bool | None = super().update(n)
        if self._counts and self._report is not None and self._report.is_open:
            self._report.report(current=self.n, total=self.total, message=self._news())
        return shown

    def refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Show the bar anew. tqdm's own thread does that as well, so nothing is raised."""
        self._note()
        return super().refresh(*args, **kwargs)

    def close(self) -> None:
        """Take the bar away, and end the run that it is, unless a loop or a block does."""
        if not getattr(self, "disable", True):
            self._note()
        super().close()
        if self._report is None:
            return
        is_over(self, self._report)
        if self._is_own and self._report.is_open and not self._is_block:
            error = self._report.unless_handled_before(sys.exception())
            self._report.__exit__(None, error, None)

    def __del__(self) -> None:
        if self._is_own and self._report is not None and not self._is_block:
            self._report.give_up()
        super().__del__()

    def _note(self) -> None:
        if self._counts and self._report is not None:
            self._report.note(current=self.n, total=self.total, message=self._news())

    def _news(self) -> str | None:
        """Return what is said in other words than before."""
        description = self.desc.removesuffix(": ")
        words = [description if description != self._stage else "", str(self.postfix or "")]
        message = ", ".join(filter(None, words))
        if message == self._message:
            return None
        self._message = message
        return message


def trange(*args: Any, **kwargs: Any) -> tqdm:
    """Return ``tqdm(range(*args), **kwargs)``."""
    return tqdm(range(*args), **kwargs)

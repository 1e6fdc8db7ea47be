"""Bars of other libraries that count for a job: which reporter a bar has, and which of several bars it goes by."""

import threading
import weakref

from ..lifecycle import ProcessingJobLifecycle
from ..models import ProcessingJob
from .current import current_reporter
from .reporter import Reporter

_outermost: "weakref.WeakKeyDictionary[Reporter, weakref.ref[object]]" = weakref.WeakKeyDictionary()
_lock = threading.RLock()  # reentrant: a bar may be collected as garbage meanwhile


def reporter_for(
    job: Reporter | ProcessingJob | ProcessingJobLifecycle | str | None, unit: str
) -> tuple[Reporter | None, bool]:
    """Return the reporter of a bar, and whether that is its own, so that the bar is a run of the job.

    Args:
        job: Whose progress the bar is; None for that of the current reporter, if there is one.
        unit: What is counted, if the bar has its own.

    """
    if isinstance(job, Reporter):
        return job, False
    current = current_reporter()
    if not isinstance(current, Reporter):  # in another process: whose bars tell of their own part only
        current = None
    if job is None:
        return current, False
    own = Reporter(job, unit=unit)
    if current is not None and current.lifecycle.job_id == own.lifecycle.job_id:
        return current, False
    return own, True


def is_outermost(bar: object, report: Reporter) -> bool:
    """Return whether a reporter goes by this bar, since no other has begun that is not over."""
    with _lock:
        other = _outermost.get(report)
        if other is None or other() is None:
            _outermost[report] = weakref.ref(bar)
            return True
        return other() is bar


def is_over(bar: object, report: Reporter) -> None:
    """Let a reporter go by the next bar that begins."""
    with _lock:
        if is_outermost(bar, report):
            _outermost.pop(report, None)

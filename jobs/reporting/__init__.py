"""What a worker's author imports: a `Job`, whose `track` wraps an iterable, and whose `report` is a ``with`` block.

job = Job.create("job-123")
with job.report(total=len(files), unit="files") as report:
    for file in files:
        convert(file)
        report.advance()

A task queue's module belongs here: its worker makes a `Reporter` of the job's lifecycle, which travels by pickle as the
id and the attempt. A task that is delivered again calls ``mark_queued`` before, which gives the job a new attempt; the
late reports of the old one raise ``StaleAttempt``. Whoever revokes a task calls ``request_cancel``.

Neither a wrong argument nor a database that does not answer fails the work. `jobs.lifecycle`, on which this stands, is
strict and raises both.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .current import current_reporter
    from .decorator import reported
    from .job import Job
    from .remote import RemoteReporter
    from .reporter import Reporter
    from .tracking import atrack, track

__all__ = ["Job", "RemoteReporter", "Reporter", "atrack", "current_reporter", "reported", "track"]

_MODULES = {
    "Job": "job",
    "RemoteReporter": "remote",
    "Reporter": "reporter",
    "atrack": "tracking",
    "current_reporter": "current",
    "reported": "decorator",
    "track": "tracking",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: `logs` is in this package, and is imported before Django's models can be."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    return found

"""What a worker's author imports: wrap an iterable in `track`, or count inside a `Reporter`'s ``with`` block.

with Reporter("job-123", total=len(files), unit="files") as report:
    for file in files:
        convert(file)
        report.advance()

A task queue's module belongs here: its worker makes a `Reporter` of the job's lifecycle, which travels by pickle as the
id and the attempt. A task that is delivered again calls ``mark_queued`` before, which gives the job a new attempt; the
late reports of the old one raise ``StaleAttempt``. Whoever revokes a task calls ``request_cancel``.

Neither a wrong argument nor a database that does not answer fails the work. `jobs.lifecycle`, on which this stands, is
strict and raises both.
"""

from .reporter import Reporter
from .tracking import track

__all__ = ["Reporter", "track"]

"""What a worker's author imports: wrap an iterable in `track`, or count inside a `Reporter`'s ``with`` block.

with Reporter("job-123", total=len(files), unit="files") as report:
    for file in files:
        convert(file)
        report.advance()

Neither a wrong argument nor a database that does not answer fails the work. `jobs.lifecycle`, on which this stands, is
strict and raises both.
"""

from .reporter import Reporter
from .tracking import track

__all__ = ["Reporter", "track"]

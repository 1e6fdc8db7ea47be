"""What a worker's author imports: wrap an iterable in `track`, or count inside a `Reporter`'s ``with`` block.

with Reporter("job-123", total=len(files), unit="files") as report:
    for file in files:
        convert(file)
        report.advance()

Here nothing that is told fails the work, and a database that does not answer is waited for. What stands below, the
`jobs.lifecycle`, is strict; nothing of it knows of this room.
"""

from .reporter import Reporter
from .tracking import track

__all__ = ["Reporter", "track"]

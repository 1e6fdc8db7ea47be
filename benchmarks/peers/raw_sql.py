"""The write path: `mark_progress`, or the two statements that it comes down to, in raw SQL.

Run as a worker's script; prints the microseconds of each call.
"""

import contextlib
import json
import sqlite3
import sys
import time
from collections.abc import Callable

from benchmarks import payload

UPDATE = (
    "UPDATE jobs_processingjob SET progress = ?, message = ?, metadata = ?, updated_at = ?, seq = ? "
    "WHERE id = ? AND epoch = ? AND seq = ?"
)
INSERT = (
    "INSERT INTO jobs_jobevent (job_id, seq, kind, status, progress, message, metadata, timestamp) "
    "VALUES (?, ?, 'tick', 'in_progress', ?, ?, ?, ?)"
)
NOW = "2026-01-01 00:00:00"
METADATA = '{"attempt": 1, "stage": "s3"}'


def timed(call: Callable[[int], None], events: int) -> list[float]:
    """Return how long each call took, in µs."""
    times = []
    for number in range(events):
        began = time.perf_counter()
        call(number)
        times.append((time.perf_counter() - began) * 1e6)
    return times


def raw(path: str, events: int) -> list[float]:
    """Write events as two statements in one transaction, with the site's pragmas."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        run = connection.execute
        epoch, seq = run("SELECT epoch, seq FROM jobs_processingjob WHERE id = ?", [payload.JOB]).fetchone()

        def write(number: int) -> None:
            at, progress = seq + number, number % 1000 / 10
            run("BEGIN IMMEDIATE")
            run(UPDATE, [progress, "Item ....", METADATA, NOW, at + 1, payload.JOB, epoch, at])
            run(INSERT, [payload.JOB, at + 1, progress, "Item ....", METADATA, NOW])
            run("COMMIT")

        return timed(write, events)


def ours(events: int) -> list[float]:
    """Write events through the lifecycle."""
    from jobs.lifecycle import ProcessingJobLifecycle

    lifecycle = ProcessingJobLifecycle(payload.JOB)

    def write(number: int) -> None:
        lifecycle.mark_progress(number % 1000 / 10, message="Item ....", stage="s3")

    timed(write, 100)  # the first finds the position, and meets whatever is made on first use
    return timed(write, events)


def main(which: str, events: str) -> None:
    """Print the times."""
    if which == "raw":
        from django.conf import settings

        times = raw(str(settings.DATABASES["default"]["NAME"]), int(events))
    else:
        times = ours(int(events))
    print(json.dumps(times))


if __name__ == "__main__":
    main(*sys.argv[1:])

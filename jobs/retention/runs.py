"""Where each attempt lies in a job's log, and its course in a few points."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from django.db import DEFAULT_DB_ALIAS
from django.db.models import F, Max, Min, QuerySet

from ..batches import batched
from ..models import JobEvent, ProcessingJob
from ..states import TERMINAL, EventKind, Status
from .curve import Point, candidates, simplified

LOOKUPS = 100  # rows in one query: of more at once, PostgreSQL may think it easier to read all that the job has
RANGE = 500  # positions

Log = QuerySet[JobEvent]  # of one job


class Run(NamedTuple):
    """One attempt: its events are those with ``after < seq <= upto``."""

    attempt: int
    after: int
    upto: int
    outcome: str  # empty if it was given up
    started_at: datetime | None
    finished_at: datetime | None


def log_of(job: ProcessingJob, alias: str) -> Log:
    """Return all the rows of a job's log, those below its floor among them."""
    return JobEvent.objects.using(alias).filter(job_id=job.pk).order_by()


def ticks_of(log: Log) -> Log:
    """Return the ticks of a log."""
    return log.filter(kind=EventKind.TICK)


def present_run(job: ProcessingJob) -> Run:
    """Return a job's present attempt, by its row alone."""
    after = max(job.attempt_seq - 1, 0)
    return Run(job.attempt, after, job.seq, job.status, job.started_at, job.finished_at)


def earlier_runs(job: ProcessingJob, log: Log) -> list[Run]:
    """Return the attempts before the present one, by the changes of status in the log."""
    if not job.attempt_seq:
        return []
    changes = log.filter(kind=EventKind.STATUS, seq__lt=job.attempt_seq).order_by("seq")
    runs = list(_runs(changes.values_list("seq", "status", "timestamp"), job.attempt_seq))
    return [run._replace(attempt=job.attempt - len(runs) + number) for number, run in enumerate(runs)]


def _runs(changes: "QuerySet[JobEvent, tuple[int, str, datetime]]", end: int) -> Iterator[Run]:
    """Yield the attempts up to the event ``end``, which began another."""
    after, before, started_at, finished_at = 0, "", None, None
    for seq, status, at in [*changes, (end, Status.QUEUED, None)]:
        if status == Status.QUEUED and (before == Status.IN_PROGRESS or before in TERMINAL):
            yield Run(0, after, seq - 1, before if before in TERMINAL else "", started_at, finished_at)
            after, started_at, finished_at = seq - 1, None, None
        if status == Status.IN_PROGRESS and started_at is None:
            started_at = at
        if status in TERMINAL:
            finished_at = at
        before = status


def first_and_last_tick(log: Log, run: Run) -> list[int]:
    """Return the ``seq`` of the first and the last tick of an attempt, which no compaction takes."""
    found = []
    for wanted, ranges in (Min, _from_begin(run)), (Max, _from_end(run)):
        for after, upto in ranges:
            seq = ticks_of(log).filter(seq__gt=after, seq__lte=upto).aggregate(seq=wanted("seq"))["seq"]
            if seq is not None:
                found.append(seq)
                break
    return found


# Ranges of positions, of which the first is likely to hold what is looked for. Asked for the first tick of a job
# without an end, PostgreSQL may sort all of them, as long as it has no statistics of the job.


def _from_begin(run: Run) -> Iterator[tuple[int, int]]:
    after, width = run.after, RANGE
    while after < run.upto:
        yield after, min(after + width, run.upto)
        after, width = after + width, 2 * width


def _from_end(run: Run) -> Iterator[tuple[int, int]]:
    upto, width = run.upto, RANGE
    while upto > run.after:
        yield max(upto - width, run.after), upto
        upto, width = upto - width, 2 * width


def _end(log: Log, run: Run) -> int:
    """Return the last ``seq`` of an attempt that says how it went: after its end come only edits and log lines.

    If those are more than are looked at, that is the last of them.
    """
    if run.finished_at is None:
        return run.upto
    ends = log.filter(kind=EventKind.STATUS, seq__gt=max(run.after, run.upto - RANGE), seq__lte=run.upto)
    return ends.order_by("-seq").values_list("seq", flat=True).first() or run.upto


def course(log: Log, run: Run) -> list[Point]:
    """Return the curve of an attempt out of its rows: some hundreds that are looked up, however many there are."""
    if run.started_at is None:
        return []
    end = _end(log, run)
    seqs = sorted({*candidates(run.after, run.upto), end - 1, end})  # before an end comes the last report
    points = [(0.0, 0.0)]
    for some in batched(seqs, LOOKUPS):
        for at, progress in log.filter(seq__in=some).order_by("seq").values_list("timestamp", "progress"):
            # What an import has stored may be anything, and no percentage is unknown progress.
            is_within = run.started_at <= at <= (run.finished_at or at)
            if is_within and progress is not None and 0 <= progress <= 100:
                points.append((round((at - run.started_at).total_seconds(), 3), round(progress, 2)))
    return simplified(points)


def curve_of(job: ProcessingJob) -> list[Point]:
    """Return the curve of a job's present attempt: what was kept of it, or what its rows say."""
    run = present_run(job)
    for points in job.runs.filter(attempt=run.attempt).values_list("curve", flat=True):
        return _points(points)
    return course(log_of(job, job._state.db or DEFAULT_DB_ALIAS), run)


def earlier_curves(job: ProcessingJob, most: int) -> list[tuple[Run, list[Point]]]:
    """Return the curves that were kept of the attempts before the present one, the last one first."""
    kept = job.runs.filter(attempt__lt=job.attempt).order_by("-attempt")[:most]
    return [
        (Run(run.attempt, 0, job.seq, run.outcome, run.started_at, run.finished_at), _points(run.curve)) for run in kept
    ]


def _points(stored: list[list[float]]) -> list[Point]:
    return [(seconds, percent) for seconds, percent in stored]


def superseded(log: Log, run: Run, *, after: int, upto: int, stride: int) -> Log:
    """Return the ticks of an attempt between two positions that are neither candidates nor its first or last."""
    ticks = ticks_of(log).filter(seq__gt=max(after, run.after), seq__lte=min(upto, run.upto))
    if not ticks.exists():  # else a long log of lines alone would be searched through for its first and last tick
        return ticks.none()
    return ticks.alias(rest=F("seq") % stride).filter(rest__gt=0).exclude(seq__in=first_and_last_tick(log, run))

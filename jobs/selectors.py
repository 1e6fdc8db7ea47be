"""Reads of jobs and their log, for whoever shows them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Func, IntegerField, Q, QuerySet
from django.db.models.functions import Substr
from django.db.models.lookups import Exact
from django.db.models.sql.compiler import SQLCompiler

from . import database
from .access import policy, type_of_user
from .batches import MAX_IDS, batched
from .database import connection_to_write, database_alias, jobs_as_written, most_ids
from .models import JobEvent, ProcessingJob
from .readable import readable

MAX_SPANS = 100  # in one query, whose conditions SQLite nests at most 1,000 deep


class Bytes(Func):
    """How many bytes of UTF-8 a text has."""

    function = "OCTET_LENGTH"
    output_field = IntegerField()

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any) -> tuple[str, Any]:
        """Do without a function that only newer versions have."""
        return self.as_sql(compiler, connection, template="LENGTH(CAST(%(expressions)s AS BLOB))")


class Head(NamedTuple):
    """Where a job stands, since when, what decides who may see it, and its name."""

    epoch: str
    seq: int
    updated_at: datetime
    owner_id: Any
    public: bool
    name: str


class Span(NamedTuple):
    """A part of a job's log: the events of one stream with ``after < seq <= upto``."""

    epoch: str
    after: int
    upto: int


def get_visible_job(user: type_of_user, job_id: str) -> ProcessingJob | None:
    """Return a job that the user may see; None if there is none, it is hidden from them, or can't be read."""
    job = next(iter(readable(ProcessingJob.objects.filter(pk=job_id))), None)
    return job if job is not None and policy().may_view(user, job) else None


def recent_jobs(
    user: type_of_user, limit: int, *, own: bool = False, names: Collection[str] | None = None
) -> list[ProcessingJob]:
    """Return the newest jobs that the user may see, newest first, if readable.

    Args:
        user: Whom the access policy is asked about.
        limit: How many at most.
        own: Only the user's own.
        names: Only those with these ids, or that begin with one of these if it ends in ``*``.

    """
    if own and not user.is_authenticated:
        return []  # a job without an owner is nobody's own
    jobs = ProcessingJob.objects.filter(owner_id=user.pk) if own else ProcessingJob.objects.all()
    return policy().recent(user, jobs if names is None else jobs.filter(_has_name(names)), limit)


def recent_named_jobs(names: Collection[str], limit: int) -> list[ProcessingJob]:
    """Return the newest jobs with these names, as for `recent_jobs`, whoever may see them: no policy is asked."""
    return readable(ProcessingJob.objects.filter(_has_name(names)).order_by("-created_at")[:limit])


def _has_name(names: Collection[str]) -> Q:
    """Return the condition that a job is named, by its id or by the beginning of that and ``*``."""
    beginnings = [name[:-1] for name in names if name.endswith("*")]
    return Q(
        Q(pk__in=[name for name in names if not name.endswith("*")]),
        # SQLite's LIKE takes upper and lower case for the same, so it may find too many.
        *(Q(pk__startswith=begin) & Q(Exact(Substr("pk", 1, len(begin)), begin)) for begin in beginnings),
        _connector=Q.OR,
    )


def get_jobs(job_ids: Iterable[str]) -> list[ProcessingJob]:
    """Return those jobs that exist, as they are now."""
    jobs = jobs_as_written()
    return [job for some in batched(job_ids, MAX_IDS) for job in jobs.filter(pk__in=some)]


def heads(job_ids: Sequence[str]) -> dict[str, Head]:
    """Return the head of each of the jobs that exist, as it is now."""
    jobs = jobs_as_written()
    found = {}
    for some in batched(job_ids, most_ids(jobs.db)):
        rows = jobs.filter(pk__in=some).values_list("pk", *Head._fields)
        found.update({job_id: Head(*head) for job_id, *head in rows})
    return found


def now() -> datetime:
    """Return the time by the clock that changes go by: a server's own may be wrong."""
    return database.now(connection_to_write())


def jobs_changed_since(since: datetime) -> list[tuple[str, str, str, datetime]]:
    """Return id, epoch, status and time of each change of status since a time, oldest first."""
    jobs = jobs_as_written()
    changed = jobs.filter(status_changed_at__gte=since).order_by("status_changed_at")
    return list(changed.values_list("pk", "epoch", "status", "status_changed_at"))


def events_between(spans: Mapping[str, Span]) -> dict[str, list[JobEvent]]:
    """Return the kept events of each job's span, in order; none of a job whose stream is another by now.

    What is not above the job's floor is left out by the same statement, even where rows of it are still there: an event
    that is returned is followed by every later one.
    """
    found: dict[str, list[JobEvent]] = {job_id: [] for job_id in spans}
    for some in batched(spans.items(), MAX_SPANS):
        wanted = [_within(job_id, span) for job_id, span in some]
        events = JobEvent.objects.using(database_alias()).filter(Q(*wanted, _connector=Q.OR))
        for event in events.order_by("job_id", "seq"):
            found[event.job_id].append(event)
    return found


def last_begin(job_id: str, span: Span, kind: str, most: int, size: int) -> int | None:
    """Return which event comes before a job's last ones of a kind, within a span of a stream; None if none does.

    As for `first_events`, events below the floor count, and those of another stream do not.

    Args:
        job_id: The job.
        span: The part of its log.
        kind: Such as ``log``, for which there is an index.
        most: How many the last ones are at most.
        size: How many bytes of UTF-8 their texts have together at most.

    """
    lengths = _of_kind(job_id, span, kind).order_by("-seq").values_list("seq", Bytes("message"))
    for number, (seq, length) in enumerate(lengths[: most + 1]):
        size -= length
        if number == most or size < 0:
            return int(seq)
    return None


def first_events(job_id: str, span: Span, kind: str, most: int, size: int) -> tuple[list[JobEvent], int]:
    """Return a job's first events of a kind that no trim takes, within a span of a stream, and up to where it is all.

    They are below the floor as well. Nothing is returned of a job whose stream is another by now.

    Args:
        job_id: The job.
        span: The part of its log.
        kind: Such as ``log``, for which there is an index.
        most: How many events at most.
        size: How many bytes of UTF-8 their texts have together at most; a single one may have more.

    """
    of_kind = _of_kind(job_id, span, kind).order_by("seq")
    upto = span.upto
    for number, (seq, length) in enumerate(of_kind.values_list("seq", Bytes("message"))[: most + 1]):
        size -= length
        if number == most or (number and size < 0):
            upto = seq - 1
            break
    return list(of_kind.filter(seq__lte=upto)), upto


def _of_kind(job_id: str, span: Span, kind: str) -> QuerySet[JobEvent]:
    log = JobEvent.objects.using(database_alias())
    return log.filter(job_id=job_id, job__epoch=span.epoch, kind=kind, seq__gt=span.after, seq__lte=span.upto)


def _within(job_id: str, span: Span) -> Q:
    """Return the condition of a span, the floor in each: else SQLite goes through the jobs, and reads all they have."""
    of_stream = Q(job_id=job_id, job__epoch=span.epoch, job__floor__lt=F("seq"))
    return of_stream & Q(seq__gt=span.after, seq__lte=span.upto)

"""Changes of several jobs whose rows are locked first, each decided on what its row says; nobody remembers them."""

from collections.abc import Callable, Collection, Iterable

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import OuterRef, Subquery

from .changes import Change
from .committed import Attempt, Committed
from .database import now
from .models import JobEvent, ProcessingJob
from .writes import Write, write_all

LOCK_MILLISECONDS = 1_000  # for which a row is waited for that somebody else holds


class _Unknowing:
    """Who writes, and remembers nothing of it."""

    def settle(self, job: ProcessingJob, attempt: Attempt) -> None:
        """Take no note."""


def locked(connection: BaseDatabaseWrapper, job_ids: Collection[str], *, waits: bool) -> dict[str, ProcessingJob]:
    """Lock rows in the order of their ids, within a transaction; return those that there are.

    Args:
        connection: Where they are locked.
        job_ids: The ids.
        waits: Whether to wait, for a second, where somebody else holds a row; else that one is left out.

    """
    features = connection.features
    if waits and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
    log = JobEvent.objects.filter(job_id=OuterRef("pk")).order_by("-seq")
    jobs = ProcessingJob.objects.using(connection.alias).select_for_update(
        skip_locked=not waits and features.has_select_for_update_skip_locked,
        no_key=features.has_select_for_no_key_update,
    )
    jobs = jobs.annotate(last_seq=Subquery(log.values("seq")[:1]))  # the row may have been set back behind its log
    return {job.pk: job for job in jobs.filter(pk__in=job_ids).order_by("pk")}


def write_decided(
    connection: BaseDatabaseWrapper, jobs: Iterable[ProcessingJob], decide: Callable[[ProcessingJob], Change | None]
) -> list[Write]:
    """Write what is decided on jobs that are locked, and announce it once it is committed; return what that was."""
    at, writes = now(connection), list[Write]()
    for job in jobs:
        if (change := decide(job)) is not None:
            writes.append(Write.of(job, change, at, last_seq=getattr(job, "last_seq", None) or 0))
    if writes:
        written = write_all(connection, [[write] for write in writes])
        assert written, "the rows are locked"
    for write in writes:
        connection.on_commit(Committed(_Unknowing(), write.after, [write.event]), robust=True)
    return writes

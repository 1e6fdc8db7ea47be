"""Retention: which ended jobs are deleted by themselves, and when."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial, reduce
from operator import or_
from typing import Any, NamedTuple, Self

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q, QuerySet

from .. import database
from ..database import UNAVAILABLE, connection_to_write, with_retries
from ..models import ProcessingJob
from ..number_settings import is_number
from ..states import TERMINAL
from . import deletion
from .failures import Failures, raise_first

logger = logging.getLogger(__name__)

BATCH_JOBS = 50  # SQLite is locked for 2 ms, and a process that is not given the processor then holds it for longer
MIN_DAYS, MAX_DAYS = 0.01, 36_500.0  # who looks at a job that has just ended needs some minutes; a century
MAX_COUNT = 1_000_000_000

Place = tuple[datetime | None, str]  # of an ended job in the order of pruning: when it ended, and its id


class Retention(NamedTuple):
    """What keeps an ended job, apart from its own ``keep``. It is kept as long as anything keeps it.

    Args:
        days: How long after its end a job of each status is kept; of a status that is not named, for ever.
        latest: How many of the latest jobs of these statuses are kept, however old they are.

    """

    days: Mapping[str, float]
    latest: int = 0

    @classmethod
    def of(
        cls, days: float | Mapping[str, float] | None, latest: int | None, statuses: Iterable[str] = ()
    ) -> Self | None:
        """Return what is asked for; None if nothing is.

        Args:
            days: For all ended jobs, or by status.
            latest: How many are kept in any case.
            statuses: Those whose jobs may go, if not those of all that have ended.

        """
        if days is None and latest is None:
            return None
        if not isinstance(days, Mapping):
            days = dict.fromkeys(statuses or TERMINAL, days or 0.0)
        return cls(days, latest or 0)

    @classmethod
    def of_settings(cls) -> Self | None:
        """Return what ``JOBS_KEEP_DAYS`` and ``JOBS_KEEP_COUNT`` say; None if neither is set."""
        return cls.of(getattr(settings, "JOBS_KEEP_DAYS", None), getattr(settings, "JOBS_KEEP_COUNT", None))

    def prunable(self, connection: BaseDatabaseWrapper) -> "QuerySet[ProcessingJob]":
        """Return the jobs that nothing keeps now."""
        now = database.now(connection)
        ended = {status: now - timedelta(days=days) for status, days in self.days.items()}
        ways = [Q(status=status, finished_at__lt=before) for status, before in ended.items()]
        jobs = ProcessingJob.objects.using(connection.alias).filter(keep=False, finished_at__lt=max(ended.values()))
        jobs = jobs.filter(reduce(or_, ways))
        if not self.latest:
            return jobs
        all_of_them = ProcessingJob.objects.using(connection.alias).filter(
            keep=False, status__in=list(self.days), finished_at__isnull=False
        )
        newest = all_of_them.order_by("-finished_at", "-pk").values_list("finished_at", "pk")
        oldest_kept = newest[self.latest - 1 : self.latest].first()
        return jobs.none() if oldest_kept is None else jobs.filter(_before(oldest_kept))


def prune(retention: Retention) -> Iterator[int]:
    """Delete the jobs that nothing keeps, the oldest first; yield how many went after each batch.

    Those are chosen outside of a transaction and looked at again within: a job that is retried in between stays.

    Raises:
        OperationalError: The database does not answer.
        RuntimeError: At the end, if a receiver of the host's has failed for one; the others went.

    """
    failed: Failures = []
    places = retention.prunable(connection_to_write()).order_by("finished_at", "pk").defer(*deletion.UNREAD)
    after: Place | None = None
    while batch := _of_bounded_size(places if after is None else places.filter(_after(after))):
        after = batch[-1].finished_at, batch[-1].pk
        yield _delete(batch, failed)
    raise_first(failed)


def _of_bounded_size(places: "QuerySet[ProcessingJob]") -> list[ProcessingJob]:
    """Return the next jobs: at most as many as have few events together, or one that has many."""
    batch: list[ProcessingJob] = []
    events = 0
    for job in places[:BATCH_JOBS]:
        events += deletion.size(connection_to_write(), job)
        if batch and events > deletion.AT_ONCE:
            break
        batch.append(job)
    return batch


def _before(place: Place) -> Q:
    """Return the condition of the jobs that are pruned before one: the first part alone lets an index be used."""
    at, job_id = place
    return Q(finished_at__lte=at) & (Q(finished_at__lt=at) | Q(pk__lt=job_id))


def _after(place: Place) -> Q:
    at, job_id = place
    return Q(finished_at__gte=at) & (Q(finished_at__gt=at) | Q(pk__gt=job_id))


def _delete(batch: list[ProcessingJob], failed: Failures) -> int:
    """Delete jobs, but for those that another table protects, or that fail; return how many went."""
    places = {job.pk: job.finished_at for job in batch}
    try:
        prepared = [deletion.collected(connection_to_write().alias, batch)]
        return with_retries(partial(_delete_unchanged, places, batch, prepared))
    except UNAVAILABLE:
        raise
    except Exception as error:
        if len(places) == 1:
            logger.debug("Job %s stays: %s", *places, error)
            if not isinstance(error, IntegrityError):  # as Django's ProtectedError is, and the database's own
                failed.append((f"job {next(iter(places))}", error))
            return 0
    jobs = ProcessingJob.objects.using(connection_to_write().alias).defer(*deletion.UNREAD)
    return sum(_delete([job], failed) for pk, at in places.items() for job in jobs.filter(pk=pk, finished_at=at))


def _delete_unchanged(
    places: dict[str, datetime | None],
    batch: list[ProcessingJob],
    prepared: list[deletion.JobCollector],
    connection: BaseDatabaseWrapper,
) -> int:
    """Delete those of the jobs that nobody has changed since they were chosen, nor is changing; return how many.

    What was prepared serves once: Django takes the ids of the jobs away as it deletes them, whatever the COMMIT says.
    """
    jobs = ProcessingJob.objects.using(connection.alias).filter(pk__in=list(places), keep=False).order_by()
    free = jobs.select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked)
    with transaction.atomic(using=connection.alias):
        now = dict(free.values_list("pk", "finished_at"))
        same = [pk for pk, at in places.items() if now.get(pk) == at]
        if prepared and len(same) == len(places):
            deletion.delete_locked(connection, batch, prepared.pop())
        elif same:
            deletion.delete_locked(connection, list(jobs.filter(pk__in=same).defer(*deletion.UNREAD)))
    return len(same)


@register()
def check_retention(**_: Any) -> list[CheckMessage]:
    """Check the settings at start."""
    days, count = getattr(settings, "JOBS_KEEP_DAYS", None), getattr(settings, "JOBS_KEEP_COUNT", None)
    problems: list[CheckMessage] = []
    by_status = days if isinstance(days, Mapping) and days else dict.fromkeys(TERMINAL, days)
    if days is not None and not (by_status.keys() <= TERMINAL and all(map(_is_days, by_status.values()))):
        words = (
            f"JOBS_KEEP_DAYS = {days!r:.100} must be None, a number of days from {MIN_DAYS:g} to {MAX_DAYS:,.0f}, or a "
            f"dictionary of such numbers by status: {', '.join(sorted(TERMINAL))}."
        )
        problems.append(Error(words, id="jobs.E021"))
    if count is not None and not is_number(count, int, 1, MAX_COUNT):
        words = f"JOBS_KEEP_COUNT = {count!r:.50} must be None or a whole number from 1 to {MAX_COUNT:,}."
        problems.append(Error(words, id="jobs.E022"))
    return problems


def _is_days(value: Any) -> bool:
    return is_number(value, float, MIN_DAYS, MAX_DAYS)

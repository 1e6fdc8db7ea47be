"""Reads of jobs and their log, for whoever shows them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from django.db import router
from django.db.models import Q

from jobs.access import policy, type_of_user
from jobs.events import Event
from jobs.models import JobEvent, ProcessingJob

MAX_IDS = 500  # in one query; SQLite takes 999 parameters by default
MAX_CURSORS = 100  # in one query, whose conditions SQLite nests at most 1,000 deep


def database_alias() -> str:
    """Return the alias of the database that holds the jobs."""
    return router.db_for_read(ProcessingJob)


def get_job(job_id: str) -> ProcessingJob | None:
    """Return a job, or None if there is none with this id."""
    return ProcessingJob.objects.filter(pk=job_id).first()


def get_visible_job(user: type_of_user, job_id: str) -> ProcessingJob | None:
    """Return a job that the user may see; None if there is none, or it is hidden from them."""
    job = get_job(job_id)
    return job if job is not None and policy().may_view(user, job) else None


def recent_jobs(user: type_of_user, limit: int, *, own: bool = False) -> list[ProcessingJob]:
    """Return the newest jobs that the user may see, or that are the user's own, newest first."""
    jobs = policy().visible(user, ProcessingJob.objects.all())
    if own and not user.is_authenticated:
        return []  # a job without an owner is nobody's own
    if own:
        jobs = jobs.filter(owner_id=user.pk)
    return list(jobs.order_by("-created_at")[:limit])


def get_jobs(job_ids: Iterable[str]) -> list[ProcessingJob]:
    """Return those jobs that exist."""
    return list(ProcessingJob.objects.filter(pk__in=list(job_ids)))


def jobs_changed_since(since: datetime) -> list[tuple[str, str, datetime]]:
    """Return id, epoch and time of each change of status since a time, oldest first."""
    changed = ProcessingJob.objects.filter(status_changed_at__gte=since).order_by("status_changed_at")
    return list(changed.values_list("pk", "epoch", "status_changed_at"))


def positions(job_ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Return the position (epoch, seq) of each of the jobs that exist."""
    found = {}
    for start in range(0, len(job_ids), MAX_IDS):
        rows = ProcessingJob.objects.filter(pk__in=job_ids[start : start + MAX_IDS])
        found.update({job_id: (epoch, seq) for job_id, epoch, seq in rows.values_list("pk", "epoch", "seq")})
    return found


def events_after(cursors: Mapping[str, tuple[str, int]], limit: int) -> list[Event]:
    """Return the first ``limit`` events after at most `MAX_CURSORS` positions (epoch, seq), each job's in order."""
    after = Q(pk__in=[])
    for job_id, (epoch, seq) in cursors.items():
        after |= Q(job_id=job_id, job__epoch=epoch, seq__gt=seq)
    rows = JobEvent.objects.filter(after).order_by("job_id", "seq")[:limit]
    return [row.as_event(cursors[row.job_id][0]) for row in rows]


def events_between(job_id: str, epoch: str, after: int, upto: int) -> list[Event]:
    """Return the kept events with ``after < seq <= upto`` of one stream, in order."""
    rows = JobEvent.objects.filter(job_id=job_id, job__epoch=epoch, seq__gt=after, seq__lte=upto).order_by("seq")
    return [row.as_event(epoch) for row in rows]

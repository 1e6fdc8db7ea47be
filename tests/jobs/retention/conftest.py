"""Jobs with long logs, written at once; and who hears of deletions."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import ProtectedError
from django.utils import timezone

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.retention import deletion
from jobs.signals import job_deleted
from tests.jobs.retention.compacting import made_failed
from tests.jobs.retention.small_logs import POINTS, _small, report  # noqa: F401  (_small is a fixture)


def lengthen(job_id: str, events: int) -> None:
    """Have a job's log end at ``seq = events``, as if it had reported so often."""
    job = ProcessingJob.objects.get(pk=job_id)
    ticks = (
        JobEvent(job=job, seq=seq, kind="tick", status=job.status, timestamp=timezone.now())
        for seq in range(job.seq + 1, events + 1)
    )
    JobEvent.objects.bulk_create(ticks, batch_size=5_000)
    ProcessingJob.objects.filter(pk=job_id).update(seq=events)


def age(days: float, *job_ids: str) -> None:
    """Have jobs ended some days ago."""
    ended = timezone.now() - timedelta(days=days)
    ProcessingJob.objects.filter(pk__in=job_ids).update(status_changed_at=ended, finished_at=ended)


@pytest.fixture
def large(make_job: Callable[..., ProcessingJobLifecycle]) -> ProcessingJobLifecycle:
    """A running job of more events than are deleted at once."""
    make_job("large", status="in_progress")
    lengthen("large", 2_500)
    return ProcessingJobLifecycle("large")


@pytest.fixture
def protected(monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a job that a table of the host's refers to, and so protects."""
    collect = deletion.JobCollector.collect

    def refuse(self: Any, jobs: Any, *args: Any, **options: Any) -> None:
        if any(getattr(job, "pk", None) == "protected" for job in jobs):
            raise ProtectedError("Cannot delete it: an invoice refers to it.", set())
        collect(self, jobs, *args, **options)

    monkeypatch.setattr(deletion.JobCollector, "collect", refuse)
    return "protected"


@pytest.fixture
def told() -> Iterator[list[str]]:
    """The ids of jobs whose deletion was announced."""
    found: list[str] = []

    def receive(job_id: str, **_: Any) -> None:
        found.append(job_id)

    job_deleted.connect(receive)
    yield found
    job_deleted.disconnect(receive)


@pytest.fixture
def failed(make_job: Any) -> ProcessingJobLifecycle:
    return made_failed(make_job)

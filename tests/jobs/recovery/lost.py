"""Workers that are lost, and the looks that find them, without waiting."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from jobs.leases import Worker
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from jobs.recovery import sweep
from jobs.recovery.sweep import Look, look
from tests.jobs.records import row

REQUEUE = {"thumbnails": {"recovery": "requeue", "attempts": 3}}
DEAD = "dead-worker"
MakeJob = Callable[..., ProcessingJobLifecycle]


def begin(job_id: str, worker: str = DEAD, **fields: Any) -> ProcessingJobLifecycle:
    """Make a job that runs under the lease of a worker."""
    lifecycle = ProcessingJobLifecycle.create(job_id, **fields)
    lifecycle.mark_started(worker=worker)
    return lifecycle


def silence(worker: str = DEAD, seconds: float = 30.0) -> None:
    """Have a worker's lease be over for so many seconds."""
    until = timezone.now() - timedelta(seconds=seconds)
    Worker.objects.update_or_create(pk=worker, defaults={"name": "host:7", "until": until})


def find(worker: str = DEAD) -> Look:
    """Have looks find the worker late for as long as it takes, until its jobs are shown as stalled."""
    look()
    since = timezone.now() - timedelta(seconds=sweep.LATE_SECONDS)
    Worker.objects.filter(pk=worker).update(late_since=since, late_at=timezone.now())
    return look()


def wait_out(worker: str = DEAD) -> Look:
    """Have the time be over that a lost worker has to come back."""
    for job in ProcessingJob.objects.filter(worker=worker, status="in_progress"):
        mark = job.metadata.get("stalled", {})
        if "at" in mark:
            mark["at"] = (timezone.now() - timedelta(seconds=1)).isoformat()
            ProcessingJob.objects.filter(pk=job.pk).update(metadata=job.metadata)
    return look()


def mark_of(job_id: str) -> Any:
    return row(job_id)["metadata"].get("stalled")

"""What is stored of a job, for comparisons."""

from typing import Any

from jobs.models import JobEvent, ProcessingJob

SHOWN = "status", "progress", "message", "metadata"


def row(job_id: str) -> dict[str, Any]:
    """Return the job's row."""
    return ProcessingJob.objects.filter(pk=job_id).values().get()


def log(job_id: str) -> list[dict[str, Any]]:
    """Return the job's events, oldest first."""
    return list(JobEvent.objects.filter(job_id=job_id).order_by("seq").values())


def stored(job_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return all that is stored of the job: what a refused change must leave as it is."""
    return row(job_id), log(job_id)


def assert_whole(job_id: str) -> None:
    """Check what holds after every change: a log with no gap, whose last event but log lines is the job's row."""
    job, events = stored(job_id)
    assert [event["seq"] for event in events] == list(range(1, job["seq"] + 1))
    last = next(event for event in reversed(events) if event["kind"] != "log")
    assert {name: last[name] for name in SHOWN} == {name: job[name] for name in SHOWN}
    assert last["timestamp"] == job["updated_at"]

"""Those who have queues are told of a job that is queued again, until one has taken it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs.leases import Worker
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from jobs.recovery import sweep
from jobs.recovery.sweep import look
from jobs.signals import job_requeued
from tests.jobs.records import row
from tests.jobs.recovery.lost import REQUEUE, begin, find, silence, wait_out

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def failing_receiver(times: float = float("inf")) -> Iterator[list[str]]:
    """Have somebody told who fails so often; yield of which jobs that was."""
    told: list[str] = []

    def receive(job: ProcessingJob, **_: Any) -> None:
        told.append(job.pk)
        if len(told) <= times:
            raise ConnectionError("the queue is away")

    job_requeued.connect(receive)
    try:
        yield told
    finally:
        job_requeued.disconnect(receive)


def requeue() -> None:
    begin("job-1", kind="thumbnails")
    silence()
    find()
    wait_out()


def test_told__again_while_it_fails(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.JOBS_KINDS = REQUEUE
    with failing_receiver(times=2) as told:
        requeue()
        look()
        assert told == ["job-1"], "not at once"
        monkeypatch.setattr(sweep, "TELL_AGAIN_SECONDS", 0)
        for _ in range(4):
            look()
    assert told == ["job-1"] * 3
    assert row("job-1")["worker_id"] is None


def test_told__again_no_sooner_than_after_a_while(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each look would: of several receivers, one may fail for long, and another hand the job to a queue."""
    settings.JOBS_KINDS = REQUEUE
    with failing_receiver() as told:
        requeue()
        earlier = timezone.now() - timedelta(seconds=sweep.TELL_AGAIN_SECONDS)
        ProcessingJob.objects.update(status_changed_at=earlier)
        monkeypatch.setattr(sweep, "_told_again_at", float("-inf"))
        for _ in range(4):
            look()
    assert told == ["job-1"] * 2


def test_told__after_whoever_requeued_it_died(settings: Any, monkeypatch: pytest.MonkeyPatch, requeued: Any) -> None:
    settings.JOBS_KINDS = REQUEUE
    begin("job-1", kind="thumbnails")
    silence()
    find()
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "_tell", lambda _: None)
        wait_out()
    Worker.objects.all().delete()
    monkeypatch.setattr(sweep, "TELL_AGAIN_SECONDS", 0)
    look()
    look()
    assert requeued == [("job-1", 2, "thumbnails")]


def test_told__no_more_once_it_has_begun_or_ended(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.JOBS_KINDS = REQUEUE
    for job_id in "begun", "ended":
        begin(job_id, kind="thumbnails")
    silence()
    find()
    monkeypatch.setattr(sweep, "_tell", lambda _: None)
    wait_out()
    ProcessingJobLifecycle("begun").mark_started()
    ProcessingJobLifecycle("ended").request_cancel()
    assert not ProcessingJob.objects.filter(worker__isnull=False).exists()

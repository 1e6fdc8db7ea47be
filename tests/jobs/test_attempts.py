"""Attempts: what a retry clears, and that late reports of an earlier run are refused."""

import contextlib
import pickle
from typing import Any

import pytest
from django.db import transaction

from jobs.exceptions import StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from tests.jobs.records import assert_whole, row, stored

pytestmark = pytest.mark.django_db(transaction=True)

LATE = [
    ("mark_queued", ()),
    ("mark_started", ()),
    ("mark_progress", (50,)),
    ("mark_completed", ()),
    ("mark_failed", ()),
    ("mark_cancelled", ()),
    ("request_cancel", ()),
    ("retry", ()),
    ("log", ("line",)),
]


@pytest.mark.parametrize(("method", "arguments"), LATE)
def test_stale_attempt__refuses_all_that_comes_late(make_job: Any, method: str, arguments: tuple[Any, ...]) -> None:
    late = make_job(status="in_progress")
    ProcessingJobLifecycle(late.job_id).mark_queued("Its worker went silent")
    before = stored(late.job_id)
    with pytest.raises(StaleAttempt, match=r"Attempt 1 .*now: attempt 2"):
        getattr(late, method)(*arguments)
    assert stored(late.job_id) == before


def test_stale_attempt__of_a_job_made_anew_under_the_same_id(make_job: Any) -> None:
    late = make_job("job-1", status="in_progress")
    ProcessingJob.objects.all().delete()
    make_job("job-1", status="in_progress")
    before = stored("job-1")
    with pytest.raises(StaleAttempt):
        late.mark_progress(50)
    assert stored("job-1") == before


def test_stale_attempt__is_told_from_a_job_as_well_as_from_an_id(make_job: Any) -> None:
    job = ProcessingJob.objects.get(pk=make_job(status="in_progress").job_id)
    ProcessingJobLifecycle(job.pk).mark_queued()
    with pytest.raises(StaleAttempt):
        ProcessingJobLifecycle(job).mark_progress(50)


@pytest.mark.parametrize("within", [True, False])
def test_stale_attempt__stays_so_when_the_job_is_read(make_job: Any, within: bool) -> None:
    late = pickle.loads(pickle.dumps(make_job(status="failed")))  # it knows its attempt, and no job
    rightful = ProcessingJobLifecycle(late.job_id)
    with transaction.atomic() if within else contextlib.nullcontext():
        rightful.retry()
        assert late.job.attempt == 2
        with pytest.raises(StaleAttempt):
            late.log("late")
    with pytest.raises(StaleAttempt):
        late.log("late")


@pytest.mark.parametrize(
    ("status", "method"), [("in_progress", "mark_queued"), ("failed", "retry"), ("cancelled", "retry")]
)
def test_new_attempt__binds_the_object_that_began_it(make_job: Any, status: str, method: str) -> None:
    lifecycle = make_job(status=status)
    getattr(lifecycle, method)()
    lifecycle.mark_started()
    lifecycle.mark_progress(10)
    assert row(lifecycle.job_id)["attempt"] == 2
    assert_whole(lifecycle.job_id)


def test_new_attempt__from_pending_is_still_the_first(make_job: Any) -> None:
    lifecycle = make_job()
    lifecycle.mark_queued()
    lifecycle.mark_started()
    assert row(lifecycle.job_id)["attempt"] == 1


def test_retry__clears_what_was_of_the_attempt(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress", metadata={"rows": 3})
    lifecycle.mark_progress(current=5, total=10, stage="reading", metadata={"file": "a.csv"})
    lifecycle.request_cancel()
    lifecycle.mark_failed(error="boom")
    lifecycle.retry("Once more")
    job = row(lifecycle.job_id)
    assert job["metadata"] == {"rows": 3, "file": "a.csv", "attempt": 2}
    assert (job["status"], job["progress"], job["message"]) == ("queued", 0.0, "Once more")
    assert (job["error"], job["result"]) == ("", None)
    assert job["started_at"] is job["finished_at"] is job["cancel_requested_at"] is None
    assert job["queued_at"] == job["updated_at"]
    assert not lifecycle.cancel_requested


def test_retry__keeps_the_stream(make_job: Any) -> None:
    lifecycle = make_job(status="failed")
    before = row(lifecycle.job_id)
    lifecycle.retry()
    after = row(lifecycle.job_id)
    assert (after["epoch"], after["seq"]) == (before["epoch"], before["seq"] + 1)

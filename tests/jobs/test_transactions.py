"""A change within the caller's transaction: told when that commits, never if it is rolled back."""

import contextlib
import logging
from typing import Any

import pytest
from django.db import transaction

from jobs.exceptions import DuplicateJob, InvalidTransition, JobNotFound, StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from jobs.signals import job_event_committed
from tests.jobs.records import assert_whole, log, row, stored

pytestmark = pytest.mark.django_db(transaction=True)


class Undo(Exception):
    """Rolls a block back."""


def rolled_back(work: Any) -> None:
    with contextlib.suppress(Undo), transaction.atomic():
        work()
        raise Undo


def test_commit__tells_after_it_and_in_order(make_job: Any, committed: list[Any]) -> None:
    lifecycle = make_job(status="in_progress")
    del committed[:]
    with transaction.atomic():
        lifecycle.mark_progress(1)
        lifecycle.mark_progress(2)
        lifecycle.mark_completed()
        assert committed == []
    assert [event.seq for event in committed] == [3, 4, 5]
    lifecycle.log("after")
    assert_whole(lifecycle.job_id)


def test_rollback__tells_nothing_and_leaves_no_gap(make_job: Any, committed: list[Any]) -> None:
    lifecycle = make_job(status="in_progress")
    del committed[:]
    before = stored(lifecycle.job_id)
    rolled_back(lambda: lifecycle.mark_progress(50, metadata={"undone": True}))
    assert committed == []
    assert stored(lifecycle.job_id) == before
    lifecycle.mark_progress(60)
    assert "undone" not in row(lifecycle.job_id)["metadata"]
    assert [event.seq for event in committed] == [3]
    assert_whole(lifecycle.job_id)


def test_rollback__then_another_writer_then_the_first_again(make_job: Any) -> None:
    first = make_job(status="in_progress")
    rolled_back(lambda: first.mark_progress(50, message="undone", metadata={"undone": True}))
    ProcessingJobLifecycle(first.job_id).mark_progress(20, metadata={"second": True})
    first.mark_progress(30)
    job = row(first.job_id)
    assert (job["progress"], job["message"], job["metadata"].get("second")) == (30.0, "", True)
    assert "undone" not in job["metadata"]
    assert_whole(first.job_id)


@pytest.mark.parametrize("by_id", [True, False])
def test_rollback__of_a_job_that_was_read_within_the_transaction(make_job: Any, by_id: bool) -> None:
    """Its seq is one that another writer then takes, with another state."""
    first = make_job(status="in_progress")
    read = []

    def work() -> None:
        first.mark_progress(50, message="undone")
        job_id = first.job_id
        read.append(ProcessingJobLifecycle(job_id if by_id else ProcessingJob.objects.get(pk=job_id)))
        assert read[0].job.message == "undone"

    rolled_back(work)
    first.mark_progress(20, message="kept")
    read[0].mark_progress(30)
    assert log(first.job_id)[-1]["message"] == row(first.job_id)["message"] == "kept"
    assert_whole(first.job_id)


def test_rollback__what_was_read_within_the_transaction_is_read_anew(make_job: Any) -> None:
    first = make_job(status="in_progress")
    by_id = ProcessingJobLifecycle(first.job_id)

    def work() -> None:
        first.mark_progress(50, message="undone")
        assert by_id.job.message == "undone"

    rolled_back(work)
    assert by_id.job.message == ""


def test_job_changed_by_hand__is_not_what_gets_written(make_job: Any) -> None:
    job = make_job(status="in_progress").job
    job.message, job.metadata = "by hand", {"by": "hand"}
    ProcessingJobLifecycle(job).mark_progress(10)
    assert row(job.pk)["message"] == ""
    assert "by" not in row(job.pk)["metadata"]
    assert_whole(job.pk)


def test_job_changed_by_hand__is_not_what_is_shown(make_job: Any) -> None:
    job = make_job(status="in_progress").job
    job.message = "by hand"
    assert ProcessingJobLifecycle(job).job.message == ""


def test_rollback__of_a_retry_leaves_the_object_with_its_attempt(make_job: Any) -> None:
    lifecycle = make_job(status="failed")
    rolled_back(lifecycle.retry)
    assert row(lifecycle.job_id)["attempt"] == 1
    lifecycle.log("still here")
    lifecycle.retry()
    assert row(lifecycle.job_id)["attempt"] == 2
    assert_whole(lifecycle.job_id)


def test_rollback__of_a_retry_then_one_by_another(make_job: Any) -> None:
    lifecycle = make_job(status="failed")
    rolled_back(lifecycle.retry)
    ProcessingJobLifecycle(lifecycle.job_id).retry()
    with pytest.raises(StaleAttempt):
        lifecycle.mark_started()


def test_commit__of_a_retry_binds_the_object(make_job: Any) -> None:
    lifecycle = make_job(status="failed")
    with transaction.atomic():
        lifecycle.retry()
        lifecycle.mark_started()
    lifecycle.mark_progress(10)
    assert_whole(lifecycle.job_id)


def test_savepoint__rolled_back_within_a_transaction_that_commits(make_job: Any, committed: list[Any]) -> None:
    lifecycle = make_job(status="failed")
    del committed[:]
    with transaction.atomic():
        rolled_back(lifecycle.retry)
        lifecycle.log("kept")
        lifecycle.retry()
    assert [event.seq for event in committed] == [4, 5]
    lifecycle.mark_started()
    assert_whole(lifecycle.job_id)


def test_savepoint__rolled_back_last_leaves_the_object_with_its_attempt(make_job: Any) -> None:
    lifecycle = make_job(status="failed")
    with transaction.atomic():
        lifecycle.log("kept")
        rolled_back(lifecycle.retry)
    lifecycle.log("still here")
    assert_whole(lifecycle.job_id)


def test_refused_change__leaves_the_callers_transaction_usable(make_job: Any) -> None:
    lifecycle = make_job(status="completed")
    with transaction.atomic():
        with pytest.raises(InvalidTransition):
            lifecycle.mark_started()
        with pytest.raises(DuplicateJob):
            ProcessingJobLifecycle.create(lifecycle.job_id)
        lifecycle.log("goes on")
    assert log(lifecycle.job_id)[-1]["message"] == "goes on"


def test_create__rolled_back() -> None:
    made = []
    rolled_back(lambda: made.append(ProcessingJobLifecycle.create("job-1")))
    with pytest.raises(JobNotFound):
        made[0].mark_started()
    ProcessingJobLifecycle.create("job-1")
    with pytest.raises(StaleAttempt):
        made[0].mark_started()


def test_receiver_that_raises__harms_nothing_and_is_logged(
    make_job: Any, committed: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("a bug in a watcher")

    lifecycle = make_job(status="in_progress")
    job_event_committed.connect(broken)
    try:
        with caplog.at_level(logging.ERROR):
            lifecycle.mark_progress(10)
            with transaction.atomic():
                lifecycle.mark_completed()
    finally:
        job_event_committed.disconnect(broken)
    assert [event.seq for event in committed[-2:]] == [3, 4]
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["a bug in a watcher"] * 2
    assert_whole(lifecycle.job_id)


def test_receiver__may_write_of_the_same_job(make_job: Any) -> None:
    lifecycle = make_job(status="failed")

    def answer(event: Any, **_: Any) -> None:
        if event.kind == "status":
            lifecycle.log(f"seen {event.seq}")

    job_event_committed.connect(answer)
    try:
        lifecycle.retry()
        lifecycle.mark_started()
    finally:
        job_event_committed.disconnect(answer)
    assert [event["message"] for event in log(lifecycle.job_id)] == ["", "", "", "", "seen 4", "", "seen 6"]
    assert_whole(lifecycle.job_id)


@pytest.mark.parametrize("first", ["edit", "start"])
def test_edit__after_another_change_of_the_transaction_is_shown(make_job: Any, first: str) -> None:
    lifecycle = make_job(name="old", public=True)
    changes = [lambda: lifecycle.edit(name="new", public=False), lifecycle.mark_started]
    with transaction.atomic():
        for change in changes if first == "edit" else reversed(changes):
            change()
        assert (lifecycle.job.name, lifecycle.job.public) == ("new", False)
    assert (lifecycle.job.name, lifecycle.job.public, lifecycle.job.status) == ("new", False, "in_progress")

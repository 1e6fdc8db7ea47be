"""What each method of the lifecycle does."""

import asyncio
import re
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.exceptions import DuplicateJob, InvalidTransition, InvalidValue, JobError, JobNotFound
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.states import ALLOWED, Status
from tests.jobs.records import assert_whole, log, row, stored

pytestmark = pytest.mark.django_db(transaction=True)

# Which status each method leads to.
MOVES = {
    "mark_queued": Status.QUEUED,
    "mark_started": Status.IN_PROGRESS,
    "mark_completed": Status.COMPLETED,
    "mark_failed": Status.FAILED,
    "mark_cancelled": Status.CANCELLED,
    "request_cancel": Status.CANCELLED,
    "retry": Status.QUEUED,
}


def allowed(method: str, current: Status) -> bool:
    if method == "retry":
        return current in (Status.FAILED, Status.CANCELLED)
    if method == "mark_queued":
        return current in (Status.PENDING, Status.IN_PROGRESS)
    return MOVES[method] in ALLOWED[current]


@pytest.mark.parametrize("how", ["same object", "by id"])
@pytest.mark.parametrize("current", Status)
@pytest.mark.parametrize("method", MOVES)
def test_moves__every_method_in_every_status(make_job: Any, method: str, current: Status, how: str) -> None:
    lifecycle = make_job(status=current)
    job_id = lifecycle.job_id
    if how == "by id":
        lifecycle = ProcessingJobLifecycle(job_id)
    before = stored(job_id)
    if allowed(method, current):
        getattr(lifecycle, method)()
        asked = method == "request_cancel" and current == Status.IN_PROGRESS
        assert row(job_id)["status"] == (current if asked else MOVES[method])
        assert len(log(job_id)) == len(before[1]) + 1
        assert_whole(job_id)
    else:
        with pytest.raises(InvalidTransition):
            getattr(lifecycle, method)()
        assert stored(job_id) == before


@pytest.mark.parametrize("current", [status for status in Status if status != Status.IN_PROGRESS])
def test_mark_progress__only_while_in_progress(make_job: Any, current: Status) -> None:
    lifecycle = make_job(status=current)
    before = stored(lifecycle.job_id)
    with pytest.raises(InvalidTransition):
        lifecycle.mark_progress(50)
    assert stored(lifecycle.job_id) == before


@pytest.mark.parametrize("current", Status)
def test_log__in_every_status(make_job: Any, current: Status) -> None:
    lifecycle = make_job(status=current)
    before = row(lifecycle.job_id)
    lifecycle.log("3 rows skipped", level="WARNING")
    after = row(lifecycle.job_id)
    assert after == {**before, "seq": before["seq"] + 1}
    line = log(lifecycle.job_id)[-1]
    assert (line["kind"], line["message"], line["metadata"]) == ("log", "3 rows skipped", {"level": "warning"})
    assert_whole(lifecycle.job_id)


# Making


def test_create__own_id() -> None:
    owner = User.objects.create(username="ann")
    job = ProcessingJobLifecycle.create("job-1", name="Import", owner=owner, public=True, metadata={"rows": 3}).job
    stored_job = ProcessingJob.objects.get(pk="job-1")
    assert (stored_job.name, stored_job.owner, stored_job.public) == ("Import", owner, True)
    assert stored_job.status == job.status == "pending"
    assert stored_job.metadata == {"rows": 3, "attempt": 1}
    assert_whole("job-1")


def test_create__generated_ids_differ_and_sort_by_age() -> None:
    ids = [ProcessingJobLifecycle.create().job_id for _ in range(3)]
    assert all(re.fullmatch(r"[0-9a-f]{32}", job_id) for job_id in ids)
    assert ids == sorted(set(ids))


def test_create__duplicate_leaves_the_first_as_it_was() -> None:
    ProcessingJobLifecycle.create("job-1", name="first")
    before = stored("job-1")
    with pytest.raises(DuplicateJob, match="job-1"):
        ProcessingJobLifecycle.create("job-1", name="second")
    assert stored("job-1") == before


@pytest.mark.parametrize(
    "arguments", [{"job_id": "a b"}, {"job_id": ""}, {"name": "x" * 201}, {"name": "\x00"}, {"metadata": {"rate": 1}}]
)
def test_create__out_of_bounds_stores_nothing(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        ProcessingJobLifecycle.create(**arguments)
    assert not ProcessingJob.objects.exists()
    assert not JobEvent.objects.exists()


def test_create__anew_after_deletion_is_another_stream() -> None:
    first = ProcessingJobLifecycle.create("job-1").job.epoch
    ProcessingJob.objects.all().delete()
    assert ProcessingJobLifecycle.create("job-1").job.epoch != first


# Ending


def test_mark_completed__result_and_hundred_percent(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    lifecycle.mark_progress(40)
    lifecycle.mark_completed("Done", result={"rows": [1, 2]})
    job = row(lifecycle.job_id)
    assert (job["progress"], job["message"], job["result"]) == (100.0, "Done", {"rows": [1, 2]})
    assert job["metadata"] == {"attempt": 1, "result": {"rows": [1, 2]}}
    assert job["finished_at"] == job["status_changed_at"] == job["updated_at"]


def test_mark_failed__shows_the_first_line_of_the_error(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    lifecycle.mark_progress(40)
    lifecycle.mark_failed(error=ValueError("row 7\nis no number"))
    job = row(lifecycle.job_id)
    assert job["message"] == "ValueError: row 7"
    assert job["error"] == job["metadata"]["error"] == "ValueError: row 7\nis no number"
    assert job["progress"] == 40.0


def test_mark_failed__keeps_what_it_can_of_an_error_that_cannot_be_stored(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    lifecycle.mark_failed(error="a\x00b\ud800" + "x" * 20_000)
    job = row(lifecycle.job_id)
    assert job["error"].startswith("a�b?xxx")
    assert job["error"].endswith("…")
    assert len(job["error"]) == 10_000
    assert len(job["message"]) == len(job["metadata"]["error"]) == 2_000


def test_request_cancel__of_a_running_job_leaves_word_for_its_worker(make_job: Any) -> None:
    worker = make_job(status="in_progress")
    ProcessingJobLifecycle(worker.job_id).request_cancel()
    assert not worker.cancel_requested
    worker.mark_progress(50)
    assert worker.cancel_requested
    job = row(worker.job_id)
    assert (job["status"], job["metadata"]["cancel_requested"]) == ("in_progress", True)
    assert log(worker.job_id)[-2]["message"] == "Cancellation requested"


def test_request_cancel__twice_is_once(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    lifecycle.request_cancel("Please stop")
    before = stored(lifecycle.job_id)
    lifecycle.request_cancel("Now")
    ProcessingJobLifecycle(lifecycle.job_id).request_cancel()
    assert stored(lifecycle.job_id) == before


def test_request_cancel__the_job_may_still_complete(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    lifecycle.request_cancel()
    lifecycle.mark_completed()
    assert row(lifecycle.job_id)["status"] == "completed"


# Objects


def test_job__is_what_the_object_wrote_last(make_job: Any) -> None:
    lifecycle = make_job()
    for change in (
        lifecycle.mark_queued,
        lifecycle.mark_started,
        partial(lifecycle.mark_progress, 50, stage="reading", metadata={"file": "a.csv"}),
        partial(lifecycle.log, "a line"),
        lifecycle.request_cancel,
        partial(lifecycle.mark_failed, error="boom"),
        lifecycle.retry,
        lifecycle.mark_started,
        partial(lifecycle.mark_completed, result={"rows": 3}),
    ):
        change()
        there = row(lifecycle.job_id)
        assert {name: getattr(lifecycle.job, name) for name in there} == there


def test_metadata__changed_by_the_caller_afterwards_changes_nothing(make_job: Any) -> None:
    lifecycle = make_job()
    files: list[str] = []
    lifecycle.mark_started(metadata={"files": files})
    files.append("late")
    lifecycle.mark_progress(message="on")
    assert log(lifecycle.job_id)[-1]["metadata"]["files"] == []
    assert_whole(lifecycle.job_id)


def test_unknown_job__is_said_by_every_method() -> None:
    lifecycle = ProcessingJobLifecycle("nobody")
    for call in (lifecycle.mark_started, lambda: lifecycle.log("x"), lambda: lifecycle.job):
        with pytest.raises(JobNotFound, match="nobody"):
            call()


def test_lifecycle__of_a_malformed_id() -> None:
    with pytest.raises(InvalidValue):
        ProcessingJobLifecycle("no id")


def test_async_twins__do_the_same() -> None:
    async def run() -> str:
        lifecycle = await ProcessingJobLifecycle.acreate("job-1", name="n")
        await lifecycle.amark_queued()
        await lifecycle.amark_started(metadata={"a": 1})
        await lifecycle.amark_progress(50, message="half")
        await lifecycle.alog("line", level="error")
        await lifecycle.arequest_cancel()
        await lifecycle.amark_cancelled()
        await lifecycle.aretry()
        await lifecycle.amark_started()
        await lifecycle.amark_failed(error="x")
        await lifecycle.aretry()
        await lifecycle.amark_started()
        await lifecycle.amark_completed(result=1)
        with pytest.raises(InvalidTransition):
            await lifecycle.aretry()
        return str(lifecycle.job.status)

    assert asyncio.run(run()) == "completed"
    assert len(log("job-1")) == 13
    assert_whole("job-1")


def test_errors__share_a_base() -> None:
    assert issubclass(InvalidValue, JobError)
    assert issubclass(InvalidValue, ValueError)


class ReplicaRouter:
    """Has all reads made on a replica, which there is none of here: whoever asks it fails."""

    def db_for_read(self, model: Any, **publications: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **publications: Any) -> str:
        return "default"


def test_lifecycle__reads_where_it_writes(settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["tests.jobs.test_lifecycle.ReplicaRouter"]
    lifecycle = ProcessingJobLifecycle.create("job-1")
    with pytest.raises(DuplicateJob):
        ProcessingJobLifecycle.create("job-1")
    ProcessingJobLifecycle("job-1").mark_started()
    lifecycle.mark_progress(5)
    by_id = ProcessingJobLifecycle("job-1")
    assert by_id.job.progress == 5
    by_id.edit(name="renamed")
    by_id.mark_completed()
    settings.DATABASE_ROUTERS = []
    assert_whole("job-1")

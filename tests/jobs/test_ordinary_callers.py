"""What ordinary callers do: save objects that are not fresh, send them to other processes, pass what they have."""

import copy
import pickle
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connections
from django.utils.functional import lazystr
from django.utils.translation import gettext_lazy

from jobs.exceptions import (
    DuplicateJob,
    InvalidTransition,
    InvalidValue,
    JobCancelled,
    JobError,
    JobNotFound,
    StaleAttempt,
)
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from tests.conftest import MakeSite
from tests.jobs.records import assert_whole, log, row

pytestmark = pytest.mark.django_db(transaction=True)

# Saving


def test_save__of_a_job_that_was_read_before_writes_what_is_everybodys(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    job = ProcessingJob.objects.get(pk=lifecycle.job_id)
    lifecycle.mark_progress(40, message="later")
    owner = User.objects.create(username="ann")
    job.public, job.name, job.owner, job.message = True, "renamed", owner, "old"
    job.save()
    after = row(lifecycle.job_id)
    assert (after["public"], after["name"], after["owner_id"]) == (True, "renamed", owner.pk)
    assert (after["progress"], after["message"]) == (40.0, "later")
    lifecycle.mark_completed()
    assert_whole(lifecycle.job_id)


def test_save__of_what_the_lifecycle_owns_is_refused_by_name(make_job: Any) -> None:
    job = make_job().job
    with pytest.raises(InvalidValue, match="'status'"):
        job.save(update_fields=["status", "name"])
    with pytest.raises(InvalidValue, match="'seq'"):
        ProcessingJob.objects.bulk_update([job], ["seq"])
    job.name = "bulk"
    assert ProcessingJob.objects.bulk_update([job], ["name"]) == 1
    job.save(update_fields=["public"])
    assert row(job.pk)["name"] == "bulk"


def test_update_or_create__of_what_is_everybodys(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    before = row(lifecycle.job_id)
    job, is_new = ProcessingJob.objects.update_or_create(pk=lifecycle.job_id, defaults={"name": "another"})
    assert (job.name, is_new) == ("another", False)
    assert row(lifecycle.job_id) == {**before, "name": "another"}
    with pytest.raises(InvalidValue, match="'status'"):
        ProcessingJob.objects.update_or_create(pk=lifecycle.job_id, defaults={"status": "failed"})
    job.full_clean()
    lifecycle.mark_completed()
    assert_whole(lifecycle.job_id)


async def test_save__its_asynchronous_form_as_well() -> None:
    lifecycle = await ProcessingJobLifecycle.acreate("job-1")
    job = await ProcessingJob.objects.aget()
    await lifecycle.amark_started()
    await job.asave()
    assert (await ProcessingJob.objects.aget()).status == "in_progress"
    await sync_to_async(connections.close_all)()  # Django's own thread keeps its connection


@pytest.mark.parametrize("back_to", [1, 2, 3])
@pytest.mark.parametrize("is_known", [True, False])
def test_a_row_that_was_set_back__is_written_where_its_log_goes_on(
    make_job: Any, committed: list[Any], back_to: int, is_known: bool
) -> None:
    lifecycle = make_job(status="in_progress")
    stale = ProcessingJobLifecycle(lifecycle.job_id)
    stale.log("so that it knows position 3")
    lifecycle.mark_progress(1)
    lifecycle.mark_progress(2)
    ProcessingJob.objects.filter(pk=lifecycle.job_id).update(seq=back_to)
    (stale if is_known else ProcessingJobLifecycle(lifecycle.job_id)).mark_progress(3)
    assert committed[-1].seq == 6
    lifecycle.mark_completed()
    assert_whole(lifecycle.job_id)


# Sending


def test_lifecycle__travels_with_its_attempt(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    for sent in (pickle.loads(pickle.dumps(lifecycle)), copy.copy(lifecycle)):
        sent.log("from there")
    stale = pickle.loads(pickle.dumps(lifecycle))
    ProcessingJobLifecycle(lifecycle.job_id).mark_queued()
    with pytest.raises(StaleAttempt):
        stale.log("late")
    with pytest.raises(StaleAttempt):
        pickle.loads(pickle.dumps(lifecycle)).log("late")
    unbound = pickle.loads(pickle.dumps(ProcessingJobLifecycle(lifecycle.job_id)))
    unbound.mark_started()
    assert_whole(lifecycle.job_id)


@pytest.mark.parametrize(
    "error",
    [
        JobNotFound("a"),
        DuplicateJob("a"),
        InvalidTransition("a", "completed", "queued"),
        StaleAttempt("a", 1, 2),
        InvalidValue("too long"),
        JobCancelled("a"),
    ],
    ids=repr,
)
def test_errors__travel_and_say_the_same(error: JobError) -> None:
    sent = pickle.loads(pickle.dumps(error))
    assert (type(sent), str(sent), vars(sent)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_multiprocessing__a_lifecycle_goes_along(make_site: MakeSite, how: str) -> None:
    site = make_site("sqlite")
    printed = site.worker(
        f"""
        import multiprocessing
        from jobs.lifecycle import ProcessingJobLifecycle
        from tests.jobs.elsewhere import finish

        job = ProcessingJobLifecycle.create("job-1")
        job.mark_started()
        child = multiprocessing.get_context("{how}").Process(target=finish, args=(job,))
        child.start()
        child.join(30)
        print(child.exitcode)
        """
    )
    assert printed.strip() == "0"
    assert site.job("job-1")["status"] == "completed"


# Passing


class Scalar:
    """As numpy has them."""

    ndim = 0

    def __init__(self, value: Any) -> None:
        self.value = value

    def item(self) -> Any:
        return self.value

    def __float__(self) -> float:
        return float(self.value)


def test_metadata__takes_what_djangos_encoder_takes_and_scalars(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    given = {
        "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "day": date(2026, 1, 2),
        "id": uuid.UUID(int=1),
        "price": Decimal("1.50"),
        "words": gettext_lazy("Yes"),
        "scalar": Scalar(7),
    }
    lifecycle.mark_completed(result=given, metadata=given)
    stored = {
        "at": "2026-01-02T03:04:05Z",
        "day": "2026-01-02",
        "id": str(uuid.UUID(int=1)),
        "price": "1.50",
        "words": "Yes",
        "scalar": 7,
    }
    job = row(lifecycle.job_id)
    assert job["result"] == stored
    assert job["metadata"].items() >= stored.items()


def test_texts__may_be_translated_later(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress", name=lazystr("a name"))
    lifecycle.mark_progress(1, message=gettext_lazy("Yes"), stage=lazystr("first"))
    assert (row(lifecycle.job_id)["name"], row(lifecycle.job_id)["message"]) == ("a name", "Yes")
    lifecycle.log(lazystr("a line"))
    lifecycle.mark_completed(gettext_lazy("No"))
    assert [event["message"] for event in log(lifecycle.job_id)] == ["", "", "Yes", "a line", "No"]
    assert_whole(lifecycle.job_id)


@pytest.mark.parametrize("number", [Scalar(5), Decimal(5), Fraction(10, 2)], ids=lambda number: type(number).__name__)
def test_numbers__of_other_libraries(make_job: Any, number: Any) -> None:
    lifecycle = make_job(status="in_progress")
    lifecycle.mark_progress(current=number, total=10)
    assert row(lifecycle.job_id)["progress"] == 50.0


def test_id__may_be_a_uuid() -> None:
    job_id = uuid.uuid4()
    ProcessingJobLifecycle.create(job_id).mark_started()
    ProcessingJobLifecycle(job_id).log("a line")
    assert_whole(str(job_id))


@pytest.mark.parametrize(
    "job_id", [7, None, b"job", object(), JobEvent(), ["a"]], ids=lambda job_id: type(job_id).__name__
)
def test_id__of_any_other_kind_is_an_invalid_value(job_id: Any) -> None:
    with pytest.raises(InvalidValue, match="no job id"):
        ProcessingJobLifecycle(job_id)

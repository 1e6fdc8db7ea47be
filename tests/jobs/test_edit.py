"""Name, owner and visibility: changed by `edit`, which is an event, or past it."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import transaction

from jobs.exceptions import InvalidValue, JobNotFound, StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobAction, ProcessingJob
from jobs.states import EventKind
from tests.jobs.records import SHOWN, assert_whole, log, row, stored

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ann(db: None) -> User:
    return User.objects.create_user("ann")


def test_edit__is_an_event_and_what_is_shown_stays(make_job: Any, committed: list[Any], ann: User) -> None:
    lifecycle = make_job(status="in_progress")
    lifecycle.mark_progress(30, message="on its way", stage="first")
    before = row(lifecycle.job_id)
    lifecycle.edit(name="renamed", owner=ann, public=True)
    after = row(lifecycle.job_id)
    assert (after["name"], after["owner_id"], after["public"]) == ("renamed", ann.pk, True)
    assert {name: after[name] for name in SHOWN} == {name: before[name] for name in SHOWN}
    assert after["seq"] == before["seq"] + 1 == committed[-1].seq
    assert committed[-1].kind is EventKind.EDIT
    assert after["status_changed_at"] == after["updated_at"] == committed[-1].timestamp
    assert (lifecycle.job.name, lifecycle.job.owner) == ("renamed", ann)
    lifecycle.mark_completed()
    assert_whole(lifecycle.job_id)


@pytest.mark.parametrize("status", ["pending", "queued", "completed", "failed", "cancelled"])
def test_edit__of_a_job_in_any_status(make_job: Any, status: str) -> None:
    lifecycle = make_job(status=status)
    lifecycle.edit(public=True)
    assert (row(lifecycle.job_id)["status"], log(lifecycle.job_id)[-1]["kind"]) == (status, "edit")
    assert_whole(lifecycle.job_id)


def test_edit__takes_the_owner_away(make_job: Any, ann: User) -> None:
    lifecycle = make_job(owner=ann, name="kept")
    lifecycle.edit(owner=None)
    assert (row(lifecycle.job_id)["owner_id"], row(lifecycle.job_id)["name"]) == (None, "kept")


def test_edit__that_changes_nothing_is_no_event(make_job: Any, ann: User) -> None:
    lifecycle = make_job(name="a", owner=ann, public=True)
    before = stored(lifecycle.job_id)
    lifecycle.edit()
    lifecycle.edit(name="a", owner=ann, public=True)
    assert stored(lifecycle.job_id) == before
    assert not JobAction.objects.exists()


def test_edit__goes_by_the_row_and_not_by_what_was_known(make_job: Any) -> None:
    lifecycle = make_job(public=False)
    ProcessingJob.objects.update(public=True)
    lifecycle.edit(public=False)
    assert (row(lifecycle.job_id)["public"], row(lifecycle.job_id)["seq"]) == (False, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: {"name": "x" * 201},
        lambda: {"name": None},
        lambda: {"owner": AnonymousUser()},
        lambda: {"owner": User(username="never saved")},
        lambda: {"owner": User(pk=4711, username="a key of its own, and not saved")},
        lambda: {"owner": 1},
        lambda: {"public": True, "by": AnonymousUser()},
        lambda: {"public": True, "by": "ann"},
    ],
    ids=["long name", "no name", "anonymous", "not saved", "not saved with a key", "key", "by nobody", "by a name"],
)
def test_edit__what_is_not_allowed_changes_nothing(make_job: Any, wrong: Any) -> None:
    lifecycle = make_job(status="in_progress")
    before = stored(lifecycle.job_id)
    with pytest.raises(InvalidValue):
        lifecycle.edit(**wrong())
    assert stored(lifecycle.job_id) == before


def test_edit__to_an_owner_who_was_deleted_elsewhere(make_job: Any, ann: User) -> None:
    lifecycle = make_job()
    User.objects.filter(pk=ann.pk).delete()
    before = stored(lifecycle.job_id)
    with pytest.raises(InvalidValue, match="not a user who is there"):
        lifecycle.edit(owner=ann)
    assert stored(lifecycle.job_id) == before
    assert not JobAction.objects.exists()


def test_edit__of_what_is_not_there(make_job: Any, db: None) -> None:
    with pytest.raises(JobNotFound):
        ProcessingJobLifecycle("nowhere").edit(name="a")
    with pytest.raises(JobNotFound):
        ProcessingJobLifecycle("nowhere").edit()


def test_edit__of_an_attempt_that_is_over(make_job: Any) -> None:
    late = make_job(status="in_progress")
    ProcessingJobLifecycle(late.job_id).mark_queued()
    with pytest.raises(StaleAttempt):
        late.edit(name="a")
    ProcessingJobLifecycle(late.job_id).edit(name="a")
    assert row(late.job_id)["name"] == "a"


def test_edit__that_is_rolled_back_was_none(make_job: Any, committed: list[Any]) -> None:
    lifecycle = make_job(name="old")
    told = len(committed)
    with transaction.atomic():
        lifecycle.edit(name="new")
        assert lifecycle.job.name == "new"
        transaction.set_rollback(True)
    assert lifecycle.job.name == row(lifecycle.job_id)["name"] == "old"
    assert len(committed) == told
    assert not JobAction.objects.exists()


def test_save_and_update__go_on_as_they_were(make_job: Any, ann: User) -> None:
    job = make_job(status="in_progress").job
    job.name, job.owner, job.public = "saved", ann, True
    job.save()
    ProcessingJob.objects.filter(pk=job.pk).update(public=False)
    assert (row(job.pk)["name"], row(job.pk)["public"], row(job.pk)["seq"]) == ("saved", False, 2)

"""What else a parent and its children are to each other: made, cancelled, deleted, shown in the admin."""

from typing import Any

import pytest
from django.db import transaction

from jobs import children, family
from jobs.actors import Actor
from jobs.exceptions import InvalidValue, StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobAction, ProcessingJob
from jobs.reporting import Reporter
from tests.jobs.admin_pages import LIST, detail, page, staff
from tests.jobs.records import row
from tests.jobs.related import Make, settled

pytestmark = pytest.mark.django_db(transaction=True)


def test_create__a_child_has_its_parents_owner_and_visibility_unless_it_is_given_its_own(
    make_job: Make, django_user_model: Any
) -> None:
    ann, bob = (django_user_model.objects.create(username=name) for name in ("ann", "bob"))
    above = make_job("parent", owner=ann, public=True)
    one = make_job(parent=above).job
    assert (one.parent_id, one.owner, one.public, one.weight) == ("parent", ann, True, 1.0)
    other = make_job(parent="parent", weight=2, owner=bob, public=False).job
    assert (other.parent_id, other.owner, other.public, other.weight) == ("parent", bob, False, 2.0)
    assert make_job(parent=above.job, owner=None).job.owner is None
    assert (make_job().job.owner, make_job().job.public) == (None, False)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_create__a_parent_that_has_ended_takes_none(make_job: Make, status: str) -> None:
    make_job("parent", status=status)
    with pytest.raises(InvalidValue, match=f"'parent' has ended .{status}"):
        make_job("child", parent="parent")
    assert not ProcessingJob.objects.filter(pk="child").exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"parent": "nobody"}, "'nobody' is not there"),
        ({"parent": "no id!"}, "is no job id"),
        ({"parent": "child"}, "'child' is not there"),
        ({"parent": "parent", "weight": 0}, "above 0"),
        ({"parent": "parent", "weight": float("nan")}, "weight"),
        ({"parent": "parent", "weight": 1e10}, "weight"),
        ({"parent": "parent", "weight": 1e-10}, "weight"),
    ],
    ids=repr,
)
@pytest.mark.usefixtures("parent")
def test_create__what_is_wrong_makes_none(make_job: Make, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        make_job("child", **wrong)
    assert not ProcessingJob.objects.filter(pk="child").exists()


def test_create__the_worker_of_an_earlier_attempt_adds_none(make_job: Make, parent: ProcessingJobLifecycle) -> None:
    ProcessingJobLifecycle("parent").mark_queued()
    with pytest.raises(StaleAttempt):
        make_job("child", parent=parent)


def test_reporter__makes_one(make_job: Make) -> None:
    make_job("parent", public=True)
    with Reporter("parent") as report:
        first = report.child("part 1", weight=2)
        second = report.child(job_id="second", kind="part")
        assert (first.job.name, first.job.weight, first.job.parent_id, first.job.public) == (
            "part 1",
            2,
            "parent",
            True,
        )
        assert (second.job_id, second.job.kind) == ("second", "part")
        with Reporter(first):
            pass
        assert settled() == 66.66
        with Reporter(second):
            pass
        assert settled() == 100
    assert row("parent")["status"] == "completed"


def test_cancel__of_a_parent_asks_its_children_in_the_same_name(make_job: Make, parent: ProcessingJobLifecycle) -> None:
    waiting, running = make_job("waiting", parent=parent), make_job("running", parent=parent, status="in_progress")
    ended = make_job("ended", parent=parent, status="completed")
    below = make_job("below", parent=running, status="in_progress")
    ProcessingJobLifecycle("parent").request_cancel("Too slow", by=Actor.command("stop"))
    assert [row(job.job_id)["status"] for job in (waiting, ended)] == ["cancelled", "completed"]
    assert all(row(job.job_id)["cancel_requested_at"] for job in (parent, running, below))
    kept = JobAction.objects.order_by("job_id").values_list("job_id", "actor", "detail")
    assert list(kept) == [(job_id, "stop", "Too slow") for job_id in ("below", "parent", "running", "waiting")]


def test_cancel__asked_again_asks_those_who_were_not_reached(make_job: Make, parent: ProcessingJobLifecycle) -> None:
    child = make_job("child", parent=parent, status="in_progress")
    ProcessingJob.objects.filter(pk="child").update(parent=None)
    ProcessingJobLifecycle("parent").request_cancel()
    ProcessingJob.objects.filter(pk="child").update(parent="parent")
    assert row(child.job_id)["cancel_requested_at"] is None
    ProcessingJobLifecycle("parent").request_cancel()
    assert row(child.job_id)["cancel_requested_at"]


def test_cancel__that_is_rolled_back_asks_nobody(make_job: Make, parent: ProcessingJobLifecycle) -> None:
    make_job("child", parent=parent, status="in_progress")
    with transaction.atomic():
        ProcessingJobLifecycle("parent").request_cancel()
        assert row("child")["cancel_requested_at"]
        transaction.set_rollback(True)
    assert row("child")["cancel_requested_at"] is None


@pytest.mark.parametrize("status", ["pending", "in_progress"])
def test_cancel__a_child_that_is_made_meanwhile_is_asked_too(
    make_job: Make, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    make_job("parent", status=status)
    parent_of_new = family.parent_of_new

    def then_cancelled(above: Any) -> ProcessingJob:
        found: ProcessingJob = parent_of_new(above)
        ProcessingJobLifecycle("parent").request_cancel()
        return found

    monkeypatch.setattr(family, "parent_of_new", then_cancelled)
    child = make_job(parent="parent")
    assert row(child.job_id)["status"] == "cancelled"


@pytest.fixture
def _family(make_job: Make, parent: ProcessingJobLifecycle) -> None:
    make_job("child", parent=parent, name="A part")
    make_job("other")


@pytest.mark.usefixtures("_family")
def test_delete__of_a_parent_leaves_its_children() -> None:
    ProcessingJobLifecycle("parent").delete()
    assert sorted(ProcessingJob.objects.values_list("pk", flat=True)) == ["child", "other"]
    assert ">parent<" not in page(staff("view"), detail("child"))


@pytest.mark.usefixtures("_family")
def test_delete__of_a_child_leaves_its_parent_which_counts_it_no_more(make_job: Make) -> None:
    make_job("done", parent="parent", status="completed")
    assert settled() == 50
    ProcessingJobLifecycle("child").delete()
    children.roll_up(["parent"])
    assert settled() == 100
    ProcessingJobLifecycle("done").delete()
    children.roll_up(["parent"])
    assert "child_jobs" not in row("parent")["metadata"]


@pytest.mark.usefixtures("_family")
def test_admin__shows_the_way_up_and_down_and_finds_children_by_their_parent() -> None:
    client = staff("view")
    assert detail("parent") in page(client, detail("child"))
    assert f"{LIST}?parent__exact=parent" in page(client, detail("parent"))
    assert LIST + "?parent__exact" not in page(client, detail("other"))
    for query in ("parent__exact=parent", "q=parent"):
        text = page(client, f"{LIST}?{query}")
        assert detail("child") in text
        assert detail("other") not in text

"""How far a parent is by its children."""

from datetime import timedelta

import pytest

from jobs import changes, children
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from tests.jobs.records import assert_whole, row
from tests.jobs.related import Make, settled

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.usefixtures("parent")
def test_parent__is_as_far_as_its_children_by_weight(make_job: Make) -> None:
    one, two = (make_job(parent="parent", weight=weight, status="in_progress") for weight in (3, 1))
    one.mark_progress(50)
    assert settled() == 37.5
    two.mark_progress(None, current=7)
    assert two.job.progress is None
    assert settled() == 37.5, "what is unknown counts 0"
    assert row("parent")["metadata"]["child_jobs"] == 2


@pytest.mark.usefixtures("parent", "_unmarked")
@pytest.mark.parametrize("end", ["mark_completed", "mark_failed", "mark_cancelled"])
def test_parent__shows_a_childs_end_at_once_however_it_ends(make_job: Make, end: str) -> None:
    one, _ = (make_job(parent="parent", status="in_progress") for _ in range(2))
    getattr(one, end)()
    assert row("parent")["progress"] == 50


@pytest.mark.usefixtures("parent")
def test_parent__all_that_have_ended_are_all_of_it_whatever_the_sum_of_the_weights_rounds_to(make_job: Make) -> None:
    for weight in (0.1, 0.2, 0.3, 1e-9, 1 / 3):
        make_job(parent="parent", weight=weight, status="completed")
    assert settled() == 100


def test_parent__its_own_count_is_shown_and_does_not_move_the_bar(
    make_job: Make, parent: ProcessingJobLifecycle
) -> None:
    make_job(parent="parent", status="completed")
    make_job(parent="parent")
    assert settled() == 50
    parent.mark_progress(current=9, total=10)
    assert parent.job.metadata.items() >= {"current": 9, "total": 10, "child_jobs": 2}.items()
    assert settled() == 50
    parent.mark_progress(90, stage="own")
    assert settled() == 50
    parent.mark_completed()
    assert settled() == 100


def test_parent__that_has_not_begun_shows_it_once_it_has(make_job: Make) -> None:
    above = make_job("parent")
    make_job(parent="parent", status="completed")
    make_job(parent="parent")
    assert settled() == 0
    assert row("parent")["status"] == "pending"
    above.mark_started()
    assert row("parent")["progress"] == 50, "at once, since perhaps nobody moves any more"


@pytest.mark.parametrize("end", ["mark_completed", "mark_failed", "mark_cancelled"])
def test_parent__that_has_ended_stays_as_it_was(make_job: Make, parent: ProcessingJobLifecycle, end: str) -> None:
    one, two = (make_job(parent="parent", status="in_progress") for _ in range(2))
    one.mark_completed()
    getattr(parent, end)()
    children.soon.finish()
    before = row("parent")
    two.mark_completed()
    settled()
    assert row("parent") == before


def test_parent__of_a_new_attempt_is_as_far_as_what_that_does(make_job: Make, parent: ProcessingJobLifecycle) -> None:
    done, failed = (make_job(parent="parent", status=status) for status in ("completed", "failed"))
    assert settled() == 100
    parent.mark_failed()
    parent.retry()
    parent.mark_started()
    assert settled() == 0
    failed.retry()
    assert settled() == 0
    make_job(parent=parent)
    failed.mark_started()
    failed.mark_completed()
    assert settled() == 50, f"{done.job_id} was a part of the first attempt"
    assert row("parent")["metadata"]["child_jobs"] == 2


def test_parent__that_took_the_id_of_another_has_none_of_its_children(make_job: Make) -> None:
    make_job("parent", status="in_progress")
    one = make_job("child", parent="parent", status="in_progress")
    ProcessingJobLifecycle("parent").delete()
    one.mark_progress(10)
    one.log("Its parent is gone")
    make_job("parent", status="in_progress")
    one.mark_completed()
    assert settled() == 0
    assert ProcessingJob.objects.get(pk="child").parent_id == "parent"
    assert_whole("child")


def test_grandparent__is_told_as_well(make_job: Make, parent: ProcessingJobLifecycle) -> None:
    middle = make_job("middle", parent=parent, status="in_progress")
    make_job(parent=parent)
    low = make_job(parent=middle, status="in_progress")
    low.mark_progress(50)
    children.soon.finish()
    assert row("middle")["progress"] == 50
    assert settled() == 25


def test_parent__shows_the_time_left(make_job: Make, parent: ProcessingJobLifecycle) -> None:
    change = changes.rolled_up(parent.job, 2, 25, parent.job.started_at + timedelta(seconds=10))
    assert change is not None
    assert change.fields["metadata"]["eta_seconds"] == 30

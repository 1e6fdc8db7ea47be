"""What is kept of a job's run, from which later ones of its kind learn."""

from unittest import mock

import pytest
from django.db import transaction

from jobs import children
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import KindRun
from jobs.reporting import Job
from jobs.time_left import course
from tests.jobs.records import row
from tests.jobs.time_left.runs import KIND, begin, count, kept, run
from tests.jobs.time_left.seen import time_left

pytestmark = pytest.mark.django_db(transaction=True)


def test_complete__keeps_how_long_it_took(clock: mock.Mock) -> None:
    lifecycle = run(clock, size=40, metadata={"unit": "rows"})
    (only,) = kept()
    assert (only.seconds, only.unit, only.size) == (100.0, "rows", 40.0)
    assert only.finished_at == row(lifecycle.job_id)["finished_at"]


def test_complete__without_a_kind_keeps_nothing(clock: mock.Mock) -> None:
    run(clock, kind="")
    assert not KindRun.objects.exists()


@pytest.mark.parametrize("end", ["mark_failed", "mark_cancelled", "mark_queued"])
def test_end__that_is_not_a_good_one_keeps_nothing(clock: mock.Mock, end: str) -> None:
    lifecycle = begin()
    count(lifecycle, clock, 100)
    getattr(lifecycle, end)()
    assert not KindRun.objects.exists()


def test_complete__of_a_new_attempt_keeps_that_alone(clock: mock.Mock) -> None:
    lifecycle = begin()
    count(lifecycle, clock, 100)
    lifecycle.mark_failed()
    lifecycle.retry()
    lifecycle.mark_started()
    count(lifecycle, clock, 50)
    lifecycle.mark_completed()
    assert [each.seconds for each in kept()] == [50.0]


def test_complete__of_an_attempt_that_another_process_began_keeps_nothing(clock: mock.Mock) -> None:
    lifecycle = begin()
    count(lifecycle, clock, 100)
    lifecycle.mark_queued()
    ProcessingJobLifecycle(lifecycle.job_id).mark_started()
    lifecycle.mark_completed()
    assert not KindRun.objects.exists()


def test_complete__of_a_run_that_went_on_from_the_middle_keeps_nothing(clock: mock.Mock) -> None:
    lifecycle = begin()
    lifecycle.mark_progress(current=500, total=1_000)
    clock.return_value += 50
    lifecycle.mark_completed()
    assert not KindRun.objects.exists()


def test_complete__where_another_process_has_reported_as_well_keeps_nothing(clock: mock.Mock) -> None:
    lifecycle = begin()
    count(lifecycle, clock, 100, upto=5)
    ProcessingJobLifecycle(lifecycle.job_id).mark_progress(current=7)
    count(lifecycle, clock, 100, upto=9)
    lifecycle.mark_completed()
    assert not KindRun.objects.exists()


def test_complete__of_a_job_with_children_keeps_nothing(clock: mock.Mock) -> None:
    parent = begin()
    child = ProcessingJobLifecycle.create(parent=parent)
    child.mark_started()
    child.mark_completed()
    clock.return_value += 100
    parent.mark_completed()
    assert row(parent.job_id)["metadata"]["child_jobs"] == 1
    assert not KindRun.objects.exists()


def test_children__take_away_what_was_learned(clock: mock.Mock) -> None:
    run(clock)
    parent = begin()
    assert time_left(parent)[1] is not None
    ProcessingJobLifecycle.create(parent=parent)
    children.roll_up([parent.job_id])
    assert time_left(parent) == (None, None)


def test_complete__that_is_rolled_back_keeps_nothing(clock: mock.Mock) -> None:
    lifecycle = begin()
    count(lifecycle, clock, 100)
    with transaction.atomic():
        lifecycle.mark_completed()
        assert len(kept()) == 1
        transaction.set_rollback(True)
    assert not KindRun.objects.exists()
    lifecycle.mark_completed()
    assert len(kept()) == 1


def test_log_lines_and_edits__of_others_are_no_reports(clock: mock.Mock) -> None:
    lifecycle = begin()
    count(lifecycle, clock, 100, upto=5)
    other = ProcessingJobLifecycle(lifecycle.job_id)
    other.log("a line")
    other.edit(name="another")
    count(lifecycle, clock, 100)
    lifecycle.mark_completed()
    assert len(kept()) == 1


def test_delete__of_a_job_leaves_what_was_learned(clock: mock.Mock) -> None:
    run(clock).delete()
    assert len(kept()) == 1


def test_reporter__of_a_job_with_a_kind_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "LEAST_SECONDS", 0.0)
    for _ in range(2):
        job = Job.create(kind=KIND)
        for _ in job.track(range(3), unit="rows"):
            pass
    assert [each.unit for each in kept()] == ["rows", "rows"]
    assert row(job.job_id)["usual"]["runs"] == 1

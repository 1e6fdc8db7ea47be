"""The log of an ended job, compacted: what stays, and what goes."""

import itertools
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.core import checks
from django.test import override_settings
from django.utils import timezone

from jobs import database
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobRun, ProcessingJob
from jobs.retention import runs
from jobs.retention.compaction import compact, due_jobs
from tests.jobs.records import log, row, stored
from tests.jobs.retention.compacting import COMPACTED, compact_due, kinds, replayed
from tests.jobs.retention.small_logs import POINTS, _small, report  # noqa: F401  (_small is a fixture)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_small")]


def run_again(lifecycle: ProcessingJobLifecycle, ticks: int = 100) -> None:
    lifecycle.retry()
    lifecycle.mark_started()
    report(lifecycle, ticks)
    lifecycle.mark_completed()


def test_compact__leaves_all_but_ticks_and_of_those_the_first_and_the_last(failed: ProcessingJobLifecycle) -> None:
    before = log("job-1")
    ticks = [event["seq"] for event in before if event["kind"] == "tick"]
    assert compact_due() == 1
    assert log("job-1") == [e for e in before if e["kind"] != "tick" or e["seq"] in (ticks[0], ticks[-1])]
    assert kinds() == COMPACTED


def test_compact__the_log_can_be_replayed_no_more_but_goes_on(failed: ProcessingJobLifecycle) -> None:
    compact("job-1")
    assert row("job-1")["floor"] == failed.job.seq
    assert replayed() == []
    failed.log("afterwards")
    assert replayed() == [failed.job.seq]


def test_compact__keeps_the_course(failed: ProcessingJobLifecycle) -> None:
    expected = runs.curve_of(failed.job)
    compact("job-1")
    (run,) = JobRun.objects.all()
    assert (run.attempt, run.outcome) == (1, "failed")
    assert (run.started_at, run.finished_at) == (failed.job.started_at, failed.job.finished_at)
    assert [tuple(point) for point in run.curve] == expected == runs.curve_of(failed.job)
    assert run.curve[0] == [0.0, 0.0]
    assert run.curve[-1][1] == 12.0
    assert len(run.curve) <= POINTS


def test_compact__nothing_is_left_to_do(failed: ProcessingJobLifecycle) -> None:
    assert row("job-1")["compact_after"] == row("job-1")["finished_at"]
    assert compact_due() == 1
    assert row("job-1")["compact_after"] is None
    assert compact_due() == 0


def test_compact__again_changes_nothing(failed: ProcessingJobLifecycle) -> None:
    compact("job-1")
    before = stored("job-1"), list(JobRun.objects.values())
    assert compact("job-1")
    assert (stored("job-1"), list(JobRun.objects.values())) == before


def test_compact__a_job_with_few_ticks_is_left_alone(make_job: Any) -> None:
    lifecycle = make_job("job-1", status="in_progress")
    report(lifecycle, POINTS)
    for number in range(20):
        lifecycle.log(f"line {number}")
    lifecycle.mark_completed()
    before = log("job-1")
    assert compact_due() == 1  # there was something to look at
    assert log("job-1") == before
    assert not JobRun.objects.exists()
    assert (row("job-1")["floor"], row("job-1")["compact_after"]) == (0, None)


def test_end__of_a_job_with_few_events_asks_for_no_compaction(make_job: Any) -> None:
    assert row(make_job(status="completed").job_id)["compact_after"] is None


@pytest.mark.parametrize("status", ["pending", "queued", "in_progress"])
def test_compact__what_has_not_ended_is_left_alone(make_job: Any, status: str) -> None:
    lifecycle = make_job("job-1", status=status)
    if status == "in_progress":
        report(lifecycle, 30)
    before = stored("job-1")
    assert not compact("job-1")
    assert not compact("no-such-job")
    assert stored("job-1") == before


def test_compact_due__not_before_its_time(failed: ProcessingJobLifecycle) -> None:
    with override_settings(JOBS_COMPACT_SECONDS=600):
        assert compact_due() == 0
        ProcessingJob.objects.update(compact_after=timezone.now() - timedelta(seconds=601))
        assert compact_due() == 1


def test_retry__asks_for_no_compaction(failed: ProcessingJobLifecycle) -> None:
    failed.retry()
    assert row("job-1")["compact_after"] is None
    before = stored("job-1")
    assert compact_due() == 0
    assert not compact("job-1")
    assert stored("job-1") == before


def test_compact__each_attempt_has_its_course(failed: ProcessingJobLifecycle) -> None:
    first = runs.curve_of(failed.job)
    started, finished = failed.job.started_at, failed.job.finished_at
    failed.retry()
    failed.mark_started()
    report(failed, 50)
    failed.mark_queued()  # given up
    failed.mark_started()
    report(failed, 30)
    failed.mark_completed()
    compact("job-1")
    one, two, three = JobRun.objects.all()
    assert (one.outcome, two.outcome, three.outcome) == ("failed", "", "completed")
    assert (one.started_at, one.finished_at, two.finished_at) == (started, finished, None)
    assert [tuple(point) for point in one.curve] == first
    assert two.curve[-1][1] == 5.0
    assert three.curve[-1][1] == 100.0
    assert kinds().count("tick") == 6


def test_compact__a_course_is_recorded_once(failed: ProcessingJobLifecycle) -> None:
    compact("job-1")
    first = JobRun.objects.values().get(attempt=1)
    run_again(failed)
    compact("job-1")
    assert JobRun.objects.values().get(attempt=1) == first
    assert JobRun.objects.count() == 2


def test_compact__of_a_log_that_was_trimmed_the_course_is_as_good(make_job: Any) -> None:
    lifecycle = make_job("job-1", status="in_progress")
    report(lifecycle, 900)
    lifecycle.mark_completed()
    assert len(log("job-1")) < 100
    compact("job-1")
    curve = JobRun.objects.get().curve
    assert all(later >= earlier for (_, earlier), (_, later) in itertools.pairwise(curve))
    assert len(curve) >= 3
    assert len(log("job-1")) == 5


@pytest.mark.parametrize("seconds", [-1, 31_536_001, True, "600", float("nan")])
def test_check__tells_of_a_time_that_makes_no_sense(seconds: Any) -> None:
    with override_settings(JOBS_COMPACT_SECONDS=seconds):
        (problem,) = [each for each in checks.run_checks() if each.id == "jobs.E006"]
    assert "JOBS_COMPACT_SECONDS" in problem.msg


def test_due__what_runs_again_is_not(failed: ProcessingJobLifecycle) -> None:
    """A worker of an earlier version, which knows nothing of this, retries it and leaves it marked."""
    assert due_jobs().count() == 1
    ProcessingJob.objects.update(status="in_progress", attempt=2)
    assert due_jobs().count() == 0


@pytest.mark.parametrize("is_compacted", [False, True])
@pytest.mark.parametrize("lines", [0, 100])
def test_course__ends_with_the_attempt_whatever_is_said_later(
    failed: ProcessingJobLifecycle, is_compacted: bool, lines: int
) -> None:
    """Who renames an ended job, or adds a line to its log, has not had it run for days."""
    before = runs.curve_of(failed.job)
    later = timezone.now() + timedelta(days=10)
    with mock.patch.object(database, "now", return_value=later):
        failed.edit(name="another")
        for line in range(lines):
            failed.log(f"line {line}")
        compacted = compact("job-1") if is_compacted else None
        assert compacted in (None, True)
        assert runs.curve_of(failed.job)[-1] == before[-1]
        assert len(runs.curve_of(failed.job)) > 2
        run_again(failed)
    compact("job-1")
    assert JobRun.objects.get(attempt=1).curve[-1] == list(before[-1])

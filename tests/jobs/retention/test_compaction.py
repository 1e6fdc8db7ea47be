"""The log of an ended job, compacted: what stays, what goes, and what happens in between."""

import collections
import contextlib
import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.core import checks
from django.db import OperationalError, connection
from django.test import override_settings
from django.utils import timezone

from jobs import database, selectors
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobRun, ProcessingJob
from jobs.retention import compaction, runs, trimming
from jobs.retention.compaction import compact, due_jobs
from jobs.selectors import Span
from tests.jobs.records import log, row, stored
from tests.jobs.retention.small_logs import POINTS, _small, report  # noqa: F401  (_small is a fixture)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_small")]


COMPACTED = ["status", "status", "tick", "stage", "log", "tick", "status"]


@pytest.fixture
def failed(make_job: Any) -> ProcessingJobLifecycle:
    return made_failed(make_job)


def made_failed(make_job: Any, half: int = 60) -> ProcessingJobLifecycle:
    """Make a job that failed half way, after a stage and a log line; its log was not trimmed."""
    lifecycle: ProcessingJobLifecycle = make_job("job-1", status="in_progress")
    with mock.patch.object(trimming, "trim"):
        report(lifecycle, half)
        lifecycle.mark_progress(stage="second")
        lifecycle.log("half of it")
        report(lifecycle, half, begin=half)
        lifecycle.mark_failed("no more", error="it broke")
    return lifecycle


def compact_due() -> int:
    """Compact what is due; return how many jobs are so no more."""
    before = due_jobs().count()
    collections.deque(compaction.compact_due(), maxlen=0)
    return before - due_jobs().count()


def run_again(lifecycle: ProcessingJobLifecycle, ticks: int = 100) -> None:
    lifecycle.retry()
    lifecycle.mark_started()
    report(lifecycle, ticks)
    lifecycle.mark_completed()


def kinds() -> list[str]:
    return [event["kind"] for event in log("job-1")]


def replayed(after: int = 0) -> list[int]:
    job = row("job-1")
    return [each.seq for each in selectors.events_between({"job-1": Span(job["epoch"], after, job["seq"])})["job-1"]]


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


def stop_after(number: int) -> Callable[[float], bool]:
    """Return a pause that ends the work at one of its calls."""
    calls = iter(range(1, 10_000))
    return lambda _: next(calls) == number


class Killed(BaseException):
    """The process is gone."""


def killed_at(statement: int) -> bool:
    """Compact, and be killed before a statement; return whether there was one."""
    calls = iter(range(1, 10_000))

    def kill(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if next(calls) == statement:
            raise Killed
        return execute(sql, params, many, context)

    with connection.execute_wrapper(kill), contextlib.suppress(Killed):
        compact("job-1")
        return False
    return True


def test_compact__killed_at_any_statement_is_made_good(make_job: Any) -> None:
    statements = 0
    while True:
        failed = made_failed(make_job, half=8)
        before, course = log("job-1"), runs.curve_of(failed.job)
        statements += 1
        if not killed_at(statements):
            break
        if log("job-1") != before:
            assert row("job-1")["floor"] == failed.job.seq, "the floor was committed first"
            assert JobRun.objects.count() == 1
        assert replayed() in ([], [event["seq"] for event in before])
        assert compact("job-1")
        assert kinds() == COMPACTED
        assert [tuple(point) for point in JobRun.objects.get().curve] == course
        assert row("job-1")["compact_after"] is None
        ProcessingJob.objects.all().delete()
    assert statements > 10


@pytest.mark.parametrize("batches", range(1, 10))
def test_compact__ended_between_batches_goes_on_later(failed: ProcessingJobLifecycle, batches: int) -> None:
    if batches < 5:
        assert not compact("job-1", pause=stop_after(batches))
    else:
        assert len(list(itertools.islice(compaction.compact_due(), batches))) == batches
    assert row("job-1")["compact_after"] is not None
    assert compact_due() == 1
    assert kinds().count("tick") == 2


def test_compact__a_retry_before_the_floor_wins(failed: ProcessingJobLifecycle) -> None:
    real = compaction.course

    def retried_meanwhile(*args: Any) -> Any:
        ProcessingJobLifecycle("job-1").retry()
        return real(*args)

    with mock.patch.object(compaction, "course", retried_meanwhile):
        assert not compact("job-1")
    assert not JobRun.objects.exists()
    assert (row("job-1")["floor"], kinds().count("tick")) == (0, 120)


def test_compact__a_retry_between_batches_is_safe(failed: ProcessingJobLifecycle) -> None:
    ended_at = failed.job.seq

    def retried_meanwhile(_: float) -> None:
        if failed.job.seq == ended_at:
            failed.retry()
            failed.mark_started()
            report(failed, 20)

    compact("job-1", pause=retried_meanwhile)
    seq = row("job-1")["seq"]
    assert row("job-1")["floor"] == ended_at
    assert replayed() == list(range(ended_at + 1, seq + 1))
    assert row("job-1")["compact_after"] is None
    failed.mark_completed()
    assert row("job-1")["compact_after"] is not None
    assert compact_due() == 1
    assert [run.attempt for run in JobRun.objects.all()] == [1, 2]


def test_compact__another_job_of_the_same_id_is_left_alone(failed: ProcessingJobLifecycle, make_job: Any) -> None:
    made = []

    def made_anew(_: float) -> None:
        if not made:
            ProcessingJob.objects.all().delete()
            made.append(make_job("job-1", status="in_progress"))
            report(made[0], 30)

    compact("job-1", pause=made_anew)
    assert kinds().count("tick") == 30
    assert row("job-1")["floor"] == 0


def test_compact__two_at_once_record_one_course(failed: ProcessingJobLifecycle) -> None:
    course = runs.curve_of(failed.job)
    real, calls = compaction._raise_floor, []

    def overtaken(*args: Any) -> bool:
        calls.append(1)
        if len(calls) == 1:
            assert compact("job-1")
        return real(*args)

    with mock.patch.object(compaction, "_raise_floor", overtaken):
        compact("job-1")
    assert [tuple(point) for point in JobRun.objects.get().curve] == course


def test_compact_due__a_job_that_fails_is_put_off_and_harms_no_other(
    failed: ProcessingJobLifecycle, make_job: Any, caplog: pytest.LogCaptureFixture
) -> None:
    other = make_job("job-2", status="in_progress")
    report(other, 50)
    other.mark_completed()
    real = compaction.earlier_runs

    def spoilt(job: ProcessingJob, log: Any) -> Any:
        if job.pk == "job-1":
            raise ValueError("what is this?")
        return real(job, log)

    with mock.patch.object(compaction, "earlier_runs", spoilt):
        assert compact_due() == 2
        assert "job job-1 can't be compacted" in caplog.text
        assert ProcessingJob.objects.get(pk="job-2").floor == other.job.seq
        assert compact_due() == 0
    assert row("job-1")["compact_after"] > timezone.now() + timedelta(hours=23)


def test_compact_due__a_silent_database_is_for_the_caller(failed: ProcessingJobLifecycle) -> None:
    with mock.patch.object(compaction, "earlier_runs", side_effect=OperationalError), pytest.raises(OperationalError):
        compact_due()
    assert row("job-1")["compact_after"] == row("job-1")["finished_at"]


def test_compact_due__pauses_as_long_as_a_batch_took(failed: ProcessingJobLifecycle) -> None:
    pauses: list[float] = []
    with (
        mock.patch.object(compaction, "PAUSE_SECONDS", 0.005),
        mock.patch.object(compaction, "time", monotonic=mock.Mock(side_effect=[0.0, 0.002, 1.0, 1.5, *[2.0] * 100])),
    ):
        compact("job-1", pause=pauses.append)
    assert pauses[:3] == [0.005, 0.5, 0.005]


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


def test_compact__of_a_job_that_was_run_again_and_again_pauses_in_between(
    failed: ProcessingJobLifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies at once, and a queue that tries again all night, leave thousands of attempts."""
    monkeypatch.setattr(compaction, "RUNS", 2)
    for _ in range(5):
        failed.retry()
        failed.mark_started()
        failed.mark_failed()
    pauses: list[int] = []

    def pause(_: float) -> bool:
        pauses.append(JobRun.objects.count())
        return len(pauses) == 2

    assert not compact("job-1", pause=pause)
    assert pauses == [0, 0]
    assert not JobRun.objects.exists()
    assert compact("job-1")
    assert JobRun.objects.count() == 6

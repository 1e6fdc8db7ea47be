"""Compaction that is killed, overtaken by a retry or another job, or fails."""

import contextlib
import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobRun, ProcessingJob
from jobs.retention import compaction, runs
from jobs.retention.compaction import compact
from tests.jobs.records import log, row
from tests.jobs.retention.compacting import COMPACTED, compact_due, kinds, made_failed, replayed
from tests.jobs.retention.small_logs import _small, report  # noqa: F401  (_small is a fixture)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_small")]


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

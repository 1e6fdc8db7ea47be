import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError

from jobs import reporter
from jobs.exceptions import InvalidValue, JobCancelled, StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.reporter import Reporter, track
from tests.jobs.records import row

pytestmark = pytest.mark.django_db

MakeJob = Callable[..., ProcessingJobLifecycle]


@pytest.fixture
def _every_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "MIN_INTERVAL", 0.0)


@pytest.fixture
def job(make_job: MakeJob) -> ProcessingJobLifecycle:
    return make_job("job-1")


def stored() -> ProcessingJob:
    return ProcessingJob.objects.get(pk="job-1")


def ticks() -> list[Any]:
    return [event.metadata.get("current") for event in JobEvent.objects.filter(kind="tick").order_by("seq")]


def test_reporter__completes_on_exit(job: ProcessingJobLifecycle) -> None:
    with Reporter(job, total=3, unit="files") as report:
        for _ in range(3):
            report.advance()
        report.result = {"rows": 3}
        report.summary = "3 files"
    done = stored()
    assert (done.status, done.progress, done.message, done.result) == ("completed", 100.0, "3 files", {"rows": 3})
    assert done.metadata["unit"] == "files"


def test_reporter__fails_with_the_exception_and_lets_it_pass(job: ProcessingJobLifecycle) -> None:
    with pytest.raises(KeyError), Reporter(job, total=3):
        raise KeyError("missing")
    assert stored().status == "failed"
    assert "KeyError" in stored().error


def test_reporter__joins_reports_that_come_too_soon(
    job: ProcessingJobLifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter, "MIN_INTERVAL", 3600.0)
    with Reporter(job, total=1000) as report:
        for _ in range(1000):
            report.advance()
    assert ticks() == [0, 1000]  # the first, and what was untold at the end


@pytest.mark.usefixtures("_every_report")
def test_reporter__tells_each_report_after_its_interval(job: ProcessingJobLifecycle) -> None:
    with Reporter(job, total=2) as report:
        report.advance()
        report.advance(message="last")
    assert ticks() == [0, 1, 2]


def test_reporter__new_stage_is_told_at_once(job: ProcessingJobLifecycle) -> None:
    with Reporter(job, total=9) as report:
        report.report(stage="first")
        report.advance()
        report.report(stage="second")
        assert stored().metadata["stage"] == "second"
        assert stored().metadata["current"] == 1


def test_reporter__without_a_total_is_indeterminate(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        report.advance(5)
        assert stored().progress is None


@pytest.mark.usefixtures("_every_report")
def test_reporter__count_past_the_total_raises_the_total(job: ProcessingJobLifecycle) -> None:
    with Reporter(job, total=10) as report:
        report.advance(25)
        assert stored().metadata["total"] == 25
    assert stored().status == "completed"


@pytest.mark.usefixtures("_every_report")
def test_reporter__cancellation_ends_the_block_and_goes_no_further(job: ProcessingJobLifecycle) -> None:
    reached = []
    with Reporter("job-1", total=9) as report:
        report.advance()
        ProcessingJobLifecycle("job-1").request_cancel()
        report.advance()
        reached.append("never")
    assert stored().status == "cancelled"
    assert not reached


def test_reporter__cancellation_that_comes_after_the_work_is_too_late(job: ProcessingJobLifecycle) -> None:
    with Reporter("job-1", total=2) as report:
        report.advance(2)
        ProcessingJobLifecycle("job-1").request_cancel()
    assert stored().status == "completed"


def test_reporter__result_that_cannot_be_stored_fails_the_job(job: ProcessingJobLifecycle) -> None:
    with pytest.raises(InvalidValue), Reporter(job) as report:
        report.result = object()
    assert stored().status == "failed"


@pytest.mark.usefixtures("_every_report")
def test_reporter__stale_attempt_passes_and_leaves_the_new_one_alone(job: ProcessingJobLifecycle) -> None:
    def work() -> None:
        with Reporter("job-1", total=9) as report:
            ProcessingJobLifecycle("job-1").mark_queued()  # given up, and queued for another worker
            report.advance()

    with pytest.raises(StaleAttempt):
        work()
    assert (stored().status, stored().attempt) == ("queued", 2)


def test_reporter__trouble_with_the_database_does_not_hide_the_error(
    job: ProcessingJobLifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("no database")

    monkeypatch.setattr(ProcessingJobLifecycle, "mark_failed", broken)
    with pytest.raises(KeyError), Reporter(job):
        raise KeyError("the work's own")


def test_reporter__leaves_an_end_that_the_work_has_marked(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        report.lifecycle.mark_failed("Not today")
    assert stored().message == "Not today"


def test_track__completes_with_the_last_item(job: ProcessingJobLifecycle) -> None:
    assert list(track([1, 2, 3], job)) == [1, 2, 3]
    assert (stored().status, stored().metadata["total"]) == ("completed", 3)


def test_track__generator_has_no_total(job: ProcessingJobLifecycle) -> None:
    def items() -> Iterator[int]:
        yield from range(3)

    assert list(track(items(), job)) == [0, 1, 2]
    assert "total" not in stored().metadata


def test_track__loop_left_early_is_cancelled(job: ProcessingJobLifecycle) -> None:
    items = track([1, 2, 3], job)
    next(items)
    items.close()
    assert stored().status == "cancelled"


class Flaky:
    """A lifecycle's method on a database that does not answer for the first so many calls."""

    def __init__(self, method: Any, failures: int) -> None:
        self.method, self.failures, self.calls = method, failures, 0

    def __call__(self, *args: Any, **options: Any) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise OperationalError("database is locked")
        self.method(*args, **options)


@pytest.mark.django_db(transaction=True)
def test_report__a_locked_database_delays_it_and_fails_no_work(make_job: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(reporter, "MIN_INTERVAL", 0)
    monkeypatch.setattr(reporter, "SILENCE_SECONDS", 0)
    lifecycle = make_job()
    flaky = Flaky(lifecycle.mark_progress, failures=2)
    monkeypatch.setattr(lifecycle, "mark_progress", flaky)
    assert list(track(range(5), lifecycle)) == list(range(5))
    job = row(lifecycle.job_id)
    assert (job["status"], job["metadata"]["current"]) == ("completed", 5)


@pytest.mark.django_db(transaction=True)
def test_report__after_a_failure_the_database_is_left_alone_for_a_while(make_job: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(reporter, "MIN_INTERVAL", 0)
    lifecycle = make_job()
    flaky = Flaky(lifecycle.mark_progress, failures=1_000)
    monkeypatch.setattr(lifecycle, "mark_progress", flaky)
    list(track(range(100), lifecycle))
    assert flaky.calls == 1
    assert row(lifecycle.job_id)["status"] == "completed"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("method", ["mark_started", "mark_completed", "mark_failed", "mark_cancelled"])
def test_reporter__start_and_end_are_tried_again(make_job: Any, monkeypatch: Any, method: str) -> None:
    monkeypatch.setattr(reporter, "RETRY_SECONDS", 0)
    lifecycle = make_job()
    flaky = Flaky(getattr(lifecycle, method), failures=2)
    monkeypatch.setattr(lifecycle, method, flaky)
    errors: dict[str, Exception] = {"mark_failed": ValueError(), "mark_cancelled": JobCancelled(lifecycle.job_id)}
    with contextlib.suppress(ValueError), Reporter(lifecycle):
        if method in errors:
            raise errors[method]
    assert flaky.calls == 3
    assert row(lifecycle.job_id)["status"] == method.replace("mark_", "").replace("started", "completed")


def test_report__in_the_callers_transaction_its_errors_are_raised(make_job: Any, monkeypatch: Any) -> None:
    lifecycle = make_job(status="in_progress")
    monkeypatch.setattr(lifecycle, "mark_progress", Flaky(lifecycle.mark_progress, failures=1))
    report = Reporter(lifecycle)
    with pytest.raises(OperationalError):
        report.report(current=1)

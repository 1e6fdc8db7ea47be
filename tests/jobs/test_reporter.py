import contextlib
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connection

from jobs import reporter, validation
from jobs.exceptions import JobCancelled, StaleAttempt
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


def test_reporter__result_that_cannot_be_stored_is_replaced_by_the_reason(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        report.result = object()
    assert stored().status == "completed"
    assert stored().result.startswith("(not stored: The result can't be stored as JSON")


class Broken:
    """Raises whenever it is looked at."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    def __radd__(self, other: Any) -> Any:
        raise RuntimeError("no sum")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __iter__(self) -> Iterator[int]:
        return iter((1, 2))


TEXTS: list[Any] = [7, Broken(), "x" * 100_000, "a\x00b", "\ud800", b"bytes", [], ValueError("e")]
NONSENSE: list[Any] = [float("nan"), float("inf"), "12", b"12", -5, 10**400, 1e300, Broken(), None, [], object()]


@pytest.mark.usefixtures("_every_report")
@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: type(value).__name__)
def test_reporter__no_number_fails_the_work(job: ProcessingJobLifecycle, value: Any) -> None:
    with Reporter(job, total=value) as report:
        report.total = None
        report.advance(2)
        report.advance(value)
        report.report(current=value)
        report.report(total=value)
        report.advance()
    done = stored()
    assert (done.status, done.metadata["current"]) == ("completed", 3)


@pytest.mark.usefixtures("_every_report")
@pytest.mark.parametrize(
    "value",
    [7, Broken(), "x" * 100_000, "a\x00b", "\ud800", b"bytes", [], ValueError("e")],
    ids=lambda v: type(v).__name__,
)
def test_reporter__no_text_fails_the_work(job: ProcessingJobLifecycle, value: Any) -> None:
    with Reporter(job, unit=value) as report:
        report.advance(message=value)
        report.report(stage=value)
        report.summary = value
        report.result = value
    done = stored()
    assert done.status == "completed"
    assert 0 < len(done.message) <= 2_000
    assert done.message.endswith("…") == (value == "x" * 100_000)


def test_reporter__says_once_what_it_can_not_store(job: ProcessingJobLifecycle, caplog: Any, monkeypatch: Any) -> None:
    warned: list[str] = []
    monkeypatch.setattr(reporter.logger, "warning", lambda words, *arguments: warned.append(words % arguments))
    with Reporter(job, total=float("nan")) as report:
        for _ in range(5):
            report.advance("many")  # type: ignore[arg-type]
    assert len(warned) == 1
    assert "job-1" in warned[0]
    assert "count" in warned[0]


def test_reporter__says_nothing_where_all_is_well(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    monkeypatch.setattr(reporter, "logger", None)
    with Reporter(job, total=2, unit="files") as report:
        report.advance()
        report.report(total=4, current=2)
        report.result = {"rows": 2}
    assert (stored().metadata["total"], stored().metadata["current"]) == (4, 4)


def test_reporter__says_what_it_has_replaced(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    warned: list[str] = []
    monkeypatch.setattr(reporter.logger, "warning", lambda words, *arguments: warned.append(words % arguments))
    with Reporter(job) as report:
        report.result = object()
    assert "The result can't be stored" in warned[0]


def test_reporter__a_cancellation_after_an_end_that_the_work_has_marked(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        report.lifecycle.mark_failed("Not today")
        raise JobCancelled("job-1")
    assert stored().message == "Not today"


def test_reporter__a_cancellation_of_another_job_after_an_end(job: ProcessingJobLifecycle) -> None:
    def work() -> None:
        with Reporter(job) as report:
            report.lifecycle.mark_failed("Not today")
            raise JobCancelled("another")

    with pytest.raises(JobCancelled):
        work()


def test_insist__within_the_callers_transaction_tries_once(make_job: Any, monkeypatch: Any) -> None:
    lifecycle = make_job()
    flaky = Flaky(lifecycle.mark_started, failures=2)
    monkeypatch.setattr(lifecycle, "mark_started", flaky)
    with pytest.raises(OperationalError), Reporter(lifecycle):
        raise AssertionError("the body runs")
    assert flaky.calls == 1


@pytest.mark.django_db(transaction=True)
def test_report__what_a_locked_database_refused_is_told_with_the_next(make_job: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(reporter, "MIN_INTERVAL", 0)
    monkeypatch.setattr(reporter, "SILENCE_SECONDS", 0)
    warned: list[str] = []
    monkeypatch.setattr(reporter.logger, "warning", lambda words, *arguments: warned.append(words % arguments))
    lifecycle = make_job("job-1")
    with Reporter(lifecycle, total=5) as report:
        monkeypatch.setattr(lifecycle, "mark_progress", Flaky(lifecycle.mark_progress, failures=1))
        report.advance(message="kept")
        assert warned == ["Job 'job-1' can't report now (database is locked); it goes on."]
        report.advance()
        assert (row("job-1")["message"], row("job-1")["metadata"]["current"]) == ("kept", 2)


def test_reporter__starts_though_there_is_no_room_for_the_unit(make_job: MakeJob, monkeypatch: Any) -> None:
    warned: list[str] = []
    monkeypatch.setattr(reporter.logger, "warning", lambda words, *arguments: warned.append(words % arguments))
    make_job("full", metadata={"text": "x" * (validation.MAX_METADATA - 20)})
    with Reporter("full", unit="files") as report:
        report.advance()
    assert row("full")["status"] == "completed"
    assert len(warned) == 1


def test_reporter__a_job_that_was_cancelled_while_it_waited(job: ProcessingJobLifecycle) -> None:
    job.mark_cancelled()
    with pytest.raises(JobCancelled), Reporter("job-1", total=3):
        raise AssertionError("the body runs")
    with pytest.raises(JobCancelled):
        list(track([1], "job-1"))
    assert stored().status == "cancelled"


def test_reporter__a_cancellation_that_is_there_at_the_first_report(
    job: ProcessingJobLifecycle, monkeypatch: Any
) -> None:
    started = ProcessingJobLifecycle.mark_started

    def then_cancelled(self: Any, *args: Any, **options: Any) -> None:
        started(self, *args, **options)
        ProcessingJobLifecycle("job-1").request_cancel()

    monkeypatch.setattr(ProcessingJobLifecycle, "mark_started", then_cancelled)
    with pytest.raises(JobCancelled), Reporter("job-1", total=3):
        raise AssertionError("the body runs")
    assert stored().status == "cancelled"


@pytest.mark.parametrize(("code", "status"), [(0, "completed"), (None, "completed"), (3, "failed"), ("no", "failed")])
def test_reporter__an_exit_without_a_code_is_no_failure(job: ProcessingJobLifecycle, code: Any, status: str) -> None:
    with pytest.raises(SystemExit), Reporter(job):
        sys.exit(code)
    assert stored().status == status


def test_reporter__the_cancellation_of_another_job_is_a_failure(job: ProcessingJobLifecycle) -> None:
    with pytest.raises(JobCancelled), Reporter(job):
        raise JobCancelled("another")
    assert stored().status == "failed"


def test_reporter__an_error_without_words_is_a_failure(job: ProcessingJobLifecycle) -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    with pytest.raises(Silent), Reporter(job):
        raise Silent
    assert stored().error == "Silent: a value of type Silent"


@pytest.mark.parametrize("error", [ValueError("no"), JobCancelled("job-1")], ids=repr)
def test_reporter__the_last_report_is_told_before_a_bad_end(job: ProcessingJobLifecycle, error: Exception) -> None:
    with contextlib.suppress(ValueError), Reporter(job, total=9) as report:
        report.report(current=2, message="the second row")
        raise error
    assert stored().metadata["current"] == 2
    assert "the second row" in JobEvent.objects.values_list("message", flat=True)


@pytest.mark.usefixtures("_every_report")
def test_reporter__an_empty_message_clears_it(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        report.advance(message="a")
        report.advance()
        assert stored().message == "a"
        report.advance(message="")
        assert stored().message == ""


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
def test_report__what_came_while_the_database_refused_is_the_newer(make_job: Any, monkeypatch: Any) -> None:
    """From another thread; it must not be undone by what was refused."""
    lifecycle = make_job("job-1")
    mark_progress = lifecycle.mark_progress

    def refuses(**_: Any) -> None:
        monkeypatch.setattr(lifecycle, "mark_progress", mark_progress)
        report.report(current=2, message="newer")
        raise OperationalError("database is locked")

    with Reporter(lifecycle) as report:
        monkeypatch.setattr(lifecycle, "mark_progress", refuses)
        report.report(current=1, message="older")
        report.summary = "done"
    assert [(event.message, event.metadata["current"]) for event in JobEvent.objects.filter(kind="tick")] == [
        ("newer", 2)
    ]


@pytest.mark.django_db(transaction=True)
def test_report__after_a_failure_the_database_is_left_alone_for_a_while(make_job: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(reporter, "MIN_INTERVAL", 0)
    lifecycle = make_job()
    flaky = Flaky(lifecycle.mark_progress, failures=1)
    monkeypatch.setattr(lifecycle, "mark_progress", flaky)
    list(track(range(100), lifecycle))
    assert flaky.calls == 2  # and the last report, which is insisted on
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


def test_insist__ends_after_its_time_with_pauses_between(make_job: Any, monkeypatch: Any) -> None:
    clock, pauses = 0.0, []

    def sleep(seconds: float) -> None:
        nonlocal clock
        pauses.append(seconds)
        clock += seconds

    monkeypatch.setattr(reporter.time, "monotonic", lambda: clock)
    monkeypatch.setattr(reporter.time, "sleep", sleep)
    lifecycle = make_job()
    flaky = Flaky(lifecycle.mark_started, failures=10_000)
    monkeypatch.setattr(lifecycle, "mark_started", flaky)
    monkeypatch.setattr(reporter, "connection_to_write", lambda: SimpleNamespace(in_atomic_block=False))
    warned: list[str] = []
    monkeypatch.setattr(reporter.logger, "warning", lambda words, *arguments: warned.append(words % arguments))
    with pytest.raises(OperationalError), Reporter(lifecycle):
        raise AssertionError("the body runs")
    assert pauses == [1.0] * 301
    assert len(warned) == 301
    assert "locked); trying again" in warned[0]


def test_report__messages_and_stages_are_told_with_the_next(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    monkeypatch.setattr(reporter, "MIN_INTERVAL", 3600.0)
    with Reporter(job, total=9) as report:
        report.advance(message="kept until it is told")
        report.advance()
        report.flush()
        assert (stored().message, stored().metadata["current"]) == ("kept until it is told", 2)


@pytest.mark.django_db(transaction=True)
def test_report__a_usual_one_makes_no_query_but_its_own(make_job: Any, django_assert_num_queries: Any) -> None:
    expected = 1 if connection.vendor == "postgresql" else 4  # BEGIN, UPDATE, INSERT, COMMIT
    with Reporter(make_job(), total=9) as report, django_assert_num_queries(expected):
        report.report(current=1, stage="one")

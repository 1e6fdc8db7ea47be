import contextlib
import sys
from typing import Any

import pytest

from jobs import validation
from jobs.exceptions import JobCancelled, StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent
from jobs.reporting import Reporter, notes, run, track
from tests.jobs.records import row
from tests.jobs.reporting.reported import MakeJob, stored

pytestmark = pytest.mark.django_db


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
    monkeypatch.setattr(run, "report_seconds", lambda: 3600.0)
    with Reporter(job, total=1000) as report:
        for _ in range(1000):
            report.advance()
    assert ticks() == [0, 1000]  # the first, and what was pending at the end


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


@pytest.mark.usefixtures("_every_report")
def test_reporter__cancellation_is_heard_of_by_who_counts_nothing_new(job: ProcessingJobLifecycle) -> None:
    """Also where no thread asks, as here: the code is within a test's transaction."""
    with Reporter("job-1", total=9) as report:
        report.advance()
        ProcessingJobLifecycle("job-1").request_cancel()
        report.advance(0)
        raise AssertionError("it goes on")
    assert stored().status == "cancelled"


@pytest.mark.usefixtures("_every_report")
def test_reporter__a_job_that_is_anothers_by_now_stops_who_counts_nothing_new(job: ProcessingJobLifecycle) -> None:
    def work() -> None:
        with Reporter("job-1", total=9) as report:
            ProcessingJobLifecycle("job-1").mark_queued()
            report.advance(0)

    with pytest.raises(StaleAttempt):
        work()


def test_reporter__cancellation_that_comes_after_the_work_is_too_late(job: ProcessingJobLifecycle) -> None:
    with Reporter("job-1", total=2) as report:
        report.advance(2)
        ProcessingJobLifecycle("job-1").request_cancel()
    assert stored().status == "completed"


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


def test_reporter__starts_though_there_is_no_room_for_the_unit(make_job: MakeJob, monkeypatch: Any) -> None:
    warned: list[str] = []
    monkeypatch.setattr(notes.logger, "warning", lambda words, *arguments: warned.append(words % arguments))
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


def test_reporter__leaves_an_end_that_the_work_has_marked(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        report.lifecycle.mark_failed("Not today")
    assert stored().message == "Not today"


def test_report__messages_and_stages_are_told_with_the_next(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    monkeypatch.setattr(run, "report_seconds", lambda: 3600.0)
    with Reporter(job, total=9) as report:
        report.advance(message="kept until it is told")
        report.advance()
        report.flush()
        assert (stored().message, stored().metadata["current"]) == ("kept until it is told", 2)


@pytest.mark.django_db(transaction=True)
def test_report__costs_its_caller_no_query(make_job: Any, django_assert_num_queries: Any) -> None:
    with Reporter(make_job(), total=9) as report, django_assert_num_queries(0):
        report.report(current=1, stage="one")
        report.log("a line")


def test_reporter__tells_what_is_to_be_done(job: ProcessingJobLifecycle) -> None:
    with Reporter(job, unit="rows", kind="imports", plan={"load": 1, "save": 3}, size=1_200):
        pass
    done = stored()
    assert (done.kind, done.plan, done.size) == ("imports", [["load", 1], ["save", 3]], 1_200.0)


@pytest.mark.parametrize("nonsense", [float("nan"), "x", -1, {"x": 0}, [1]], ids=repr)
def test_reporter__what_can_not_be_told_fails_no_work(job: ProcessingJobLifecycle, nonsense: Any) -> None:
    with Reporter(job, kind=nonsense, plan=nonsense, size=nonsense):
        pass
    assert (stored().status, stored().plan, stored().size) == ("completed", [], None)

"""What the report thread asks about runs: whether somebody wants them to stop, and whether they are over."""

import contextlib
import threading
from typing import Any

import pytest
from django.db import OperationalError

from jobs.exceptions import JobNotFound, StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Reporter, report_thread
from jobs.reporting.report_thread import ReportThread
from tests.jobs.records import row
from tests.jobs.reporting.reported import WAIT_SECONDS, stored, told

pytestmark = pytest.mark.django_db(transaction=True)


def test_cancellation__reaches_work_that_says_nothing_new(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        ProcessingJobLifecycle("job-1").request_cancel()
        stopped = threading.Event()
        pause_of = report._run.stop
        report._run.stop = lambda error: (pause_of(error), stopped.set())  # type: ignore[method-assign,assignment]
        assert stopped.wait(WAIT_SECONDS)
        assert report.cancel_requested
        report.advance(0)
        raise AssertionError("it goes on")
    assert stored().status == "cancelled"


@pytest.mark.parametrize("by", [StaleAttempt, JobNotFound])
def test_work__that_counts_no_more_is_stopped(job: ProcessingJobLifecycle, by: type[Exception]) -> None:
    def work() -> None:
        with Reporter(job) as report:
            other = ProcessingJobLifecycle("job-1")
            other.delete() if by is JobNotFound else other.mark_queued()
            assert until_stopped(report)
            report.report(message="on")

    with pytest.raises(by):
        work()


def until_stopped(report: Reporter) -> bool:
    return any(report._run.stopped_by or threading.Event().wait(0.02) for _ in range(500))


def test_thread__survives_whatever_a_question_raises(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    monkeypatch.setattr(report_thread, "ASK_SECONDS", 0.0)

    def fails() -> None:
        asked.set()
        raise RuntimeError("no question today")

    asked = threading.Event()
    monkeypatch.setattr(report_thread, "jobs_as_written", fails)
    with Reporter(job) as report:
        assert asked.wait(WAIT_SECONDS)
        with told(current=1) as shown:
            report.advance()
            assert shown.wait(WAIT_SECONDS)


def test_run__whose_job_is_deleted_by_its_own_lifecycle_disturbs_no_other(job: ProcessingJobLifecycle) -> None:
    other = ProcessingJobLifecycle.create("job-2")
    with Reporter(other) as report, contextlib.suppress(JobNotFound), Reporter(job) as deleted:
        with ReportThread.of_this_process()._news:  # so that it asks nothing meanwhile
            deleted.lifecycle.delete()
            deleted._run.write_beside()
        report.advance()
        report.flush()
        assert isinstance(deleted._run.stopped_by, JobNotFound)
        raise JobNotFound("job-1")
    assert row("job-2")["metadata"]["current"] == 1


def test_look__that_fails_leaves_no_run_locked(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    def fails(_: Any) -> bool:
        has_failed.set()
        raise OperationalError("the database is away")

    has_failed = threading.Event()
    with Reporter(job) as report, Reporter(ProcessingJobLifecycle.create("job-2")) as other:
        monkeypatch.setattr(ProcessingJobLifecycle, "cancel_requested", property(fails))
        report.advance()
        other.advance()
        assert has_failed.wait(WAIT_SECONDS)
        for _ in range(2):  # for the first of them and the second
            ReportThread.of_this_process().call(int).result(WAIT_SECONDS)
        for each in report, other:
            assert each._run._writing.acquire(timeout=WAIT_SECONDS)  # else the end of the block would hang
            each._run._writing.release()
        monkeypatch.undo()


def test_cancellation__is_heard_of_though_ticks_are_far_apart(job: ProcessingJobLifecycle, settings: Any) -> None:
    settings.JOBS_REPORT_SECONDS = 60.0
    ReportThread.finish_of_this_process()
    with Reporter(job) as report:
        with told(stage="after the first tick") as begun:
            report.report(stage="after the first tick")
            assert begun.wait(WAIT_SECONDS)
        ReportThread.of_this_process().call(int).result(WAIT_SECONDS)  # what it asked with that tick is answered
        ProcessingJobLifecycle("job-1").request_cancel()
        assert until_stopped(report)
        report.advance()
    assert stored().status == "cancelled"

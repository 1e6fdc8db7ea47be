"""A worker that was taken for dead and comes back: all that it still writes is refused, and its successor unharmed."""

import threading
from typing import Any

import pytest

from jobs.exceptions import StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Reporter, report_thread
from jobs.reporting.report_thread import ReportThread
from tests.jobs.records import assert_whole, row, stored
from tests.jobs.recovery.lost import begin, find, silence, wait_out

pytestmark = pytest.mark.django_db(transaction=True)

WRITES: dict[str, Any] = {
    "mark_progress": {"current": 4},
    "mark_completed": {},
    "mark_failed": {"error": "late"},
    "mark_cancelled": {},
    "mark_queued": {},
    "log": {"text": "still there"},
    "output": {"text": "still there"},
    "retry": {},
}


def lose() -> None:
    silence()
    find()
    wait_out()


@pytest.mark.parametrize("name", WRITES)
def test_zombie__of_a_job_that_was_failed_writes_nothing(name: str) -> None:
    zombie = begin("job-1")
    zombie.mark_progress(current=3, total=9)
    lose()
    before = stored("job-1")
    with pytest.raises(StaleAttempt, match="its worker was lost"):
        getattr(zombie, name)(**WRITES[name])
    assert stored("job-1") == before


@pytest.mark.parametrize("name", WRITES)
def test_zombie__of_a_job_that_was_queued_again_harms_no_successor(name: str, settings: Any) -> None:
    settings.JOBS_KINDS = {"*": {"recovery": "requeue"}}
    zombie = begin("job-1")
    zombie.mark_progress(current=3, total=9)
    lose()
    successor = ProcessingJobLifecycle("job-1")
    successor.mark_started(worker="successor")
    before = stored("job-1")
    with pytest.raises(StaleAttempt, match="attempt 2"):
        getattr(zombie, name)(**WRITES[name])
    assert stored("job-1") == before
    successor.mark_progress(current=9, total=9)
    successor.mark_completed()
    assert_whole("job-1")


def test_others__may_add_to_the_log_of_a_job_that_was_failed() -> None:
    begin("job-1")
    lose()
    ProcessingJobLifecycle("job-1").log("looked at by the night shift")
    ProcessingJobLifecycle("job-1").retry()
    assert (row("job-1")["status"], row("job-1")["metadata"]) == ("queued", {"attempt": 2})


def test_zombie__whose_attempt_was_retried_stays_refused() -> None:
    zombie = begin("job-1")
    lose()
    ProcessingJobLifecycle("job-1").retry()
    with pytest.raises(StaleAttempt, match="attempt 2"):
        zombie.log("still there")


def lose_under_way(report: Reporter) -> None:
    """Have a run be recovered while the thread of its reports stands still, as by SIGSTOP; and wait until it knows."""
    worker = report._thread.lease.worker_id
    with ReportThread.of_this_process()._news:
        silence(worker)
        find(worker)
        wait_out(worker)
        report._notes.log("still there", "info")
        report._notes.say(current=4)
        recovered.append(stored("job-1"))
    assert any(report._run.stopped_by or threading.Event().wait(0.02) for _ in range(500))


recovered: list[Any] = []


def work() -> None:
    with Reporter(ProcessingJobLifecycle.create("job-1"), total=9) as report:
        lose_under_way(report)
        report.advance()


@pytest.mark.parametrize("recovery", ["fail", "requeue"])
def test_reporter__is_stopped_and_writes_nothing(recovery: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor what was noted before."""
    settings.JOBS_KINDS = {"*": {"recovery": recovery}}
    monkeypatch.setattr(report_thread, "ASK_SECONDS", 0.05)
    monkeypatch.setattr(ReportThread, "_live", lambda _: None)
    with pytest.raises(StaleAttempt):
        work()
    assert stored("job-1") == recovered[-1]
    assert row("job-1")["status"] == ("failed" if recovery == "fail" else "queued")

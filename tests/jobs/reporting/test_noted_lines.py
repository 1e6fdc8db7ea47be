"""Log lines that a job's code says, written by a thread while it works on."""

from typing import Any

import pytest

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Reporter, notes, report_thread
from jobs.reporting.report_thread import ReportThread
from tests.jobs.reporting.reported import WAIT_SECONDS, events, stored, told

pytestmark = pytest.mark.django_db(transaction=True)


def test_stages_and_lines__are_all_kept_in_order(job: ProcessingJobLifecycle) -> None:
    with Reporter(job, total=9) as report:
        report.report(stage="one")
        report.log("a")
        report.advance(3)
        report.report(stage="two", current=0, total=4)
        report.report(stage="three")
        report.log("b", level="warning")
    said = [(each.kind, each.message or each.metadata.get("stage")) for each in events("stage", "log")]
    assert said == [("stage", "one"), ("log", "a"), ("stage", "two"), ("stage", "three"), ("log", "b")]
    assert [each.metadata["current"] for each in events("tick")] == [0, 3]


def test_log__lines_come_together_soon(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    monkeypatch.setattr(report_thread, "report_seconds", lambda: 3600.0)
    with Reporter(job) as report, told(message="line 99") as shown:
        for number in range(100):
            report.log(f"line {number}")
        assert shown.wait(WAIT_SECONDS)
    assert [each.message for each in events("log")] == [f"line {number}" for number in range(100)]


def test_log__takes_anything(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        report.log("x" * 5_000)
        report.log("b", level="loud")
        report.log(b"\x00")  # type: ignore[arg-type]
    long, other, _ = events("log")
    assert (len(long.message), long.message[-1]) == (2_000, "…")
    assert other.metadata["level"] == "info"


def test_log__says_how_many_lines_are_left_out(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    monkeypatch.setattr(notes, "MAX_WAITING", 1_000)
    monkeypatch.setattr(ReportThread, "_write", lambda self, is_tick: None)  # nobody takes them
    with Reporter(job) as report:
        for _ in range(100):
            report.log("a line")
    lines = [each.message for each in events("log")]
    assert len(lines) == 6
    assert lines[-1] == "(95 lines are left out here: they came faster than they could be stored)"


def test_lines__before_an_end_that_the_work_has_marked_are_kept(job: ProcessingJobLifecycle) -> None:
    with Reporter(job, total=9) as report:
        report.advance()
        report.log("the last words")
        report.output().write("and more")
        report.lifecycle.mark_failed("Not today")
    assert [each.message for each in events("log", "output")] == ["the last words", "and more"]
    assert stored().message == "Not today"


def test_lines__that_are_written_with_a_count_which_comes_too_late_are_kept(job: ProcessingJobLifecycle) -> None:
    with Reporter(job, total=9) as report:
        thread = ReportThread.of_this_process()
        thread.remove(report._run)  # so that it writes when it is told to
        report.advance()
        report.log("the last words")
        report.lifecycle.mark_failed("Not today")
        thread.call(report._run.write_beside).result(WAIT_SECONDS)
    assert [each.message for each in events("log")] == ["the last words"]
    assert stored().message == "Not today"

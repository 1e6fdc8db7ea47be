"""What a job's code counts and says, written by a thread while it works on."""

import contextlib
import gc
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from jobs.exceptions import JobNotFound, StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Reporter, notes, report_thread, track
from jobs.reporting.report_thread import ReportThread
from tests.jobs.records import row
from tests.jobs.reporting.reported import WAIT_SECONDS, events, stored, told

pytestmark = pytest.mark.django_db(transaction=True)


def test_report__shows_while_the_work_goes_on(job: ProcessingJobLifecycle) -> None:
    with Reporter(job, total=9) as report, told(current=2) as shown:
        report.advance(2)
        assert shown.wait(WAIT_SECONDS)


def test_report__shows_as_soon_of_a_run_that_follows_another(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    monkeypatch.setattr(report_thread, "LINGER_SECONDS", 60.0)
    with Reporter(ProcessingJobLifecycle.create("job-0")) as report:
        report._thread.call(int).result(WAIT_SECONDS)
    with Reporter(job, total=9) as report, told(current=2) as shown:
        report.advance(2)
        assert shown.wait(WAIT_SECONDS)


def test_report__ticks_have_their_distance_but_the_last(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    monkeypatch.setattr(report_thread, "report_seconds", lambda: 0.05)
    with Reporter(job, total=1_000_000) as report, told(current=None) as never:
        for _ in range(40):
            report.advance()
            never.wait(0.005)
    ticks = events("tick")
    assert [ticks[0].metadata["current"], ticks[-1].metadata["current"]] == [0, 40]
    seconds = (ticks[-1].timestamp - ticks[0].timestamp).total_seconds()
    assert 3 <= len(ticks) <= 3 + seconds / 0.05, "the first, the last, and those in between"


def test_loop__shows_how_many_are_done_while_the_next_is_waited_for(job: ProcessingJobLifecycle) -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        assert shown.wait(WAIT_SECONDS)
        yield 3

    with told(current=2) as shown:
        assert list(track(items(), job)) == [1, 2, 3]
    assert stored().metadata["current"] == 3


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


@pytest.mark.sqlite
def test_locked_database__holds_up_no_work(job: ProcessingJobLifecycle) -> None:
    name = connection.settings_dict["NAME"]
    with Reporter(job, total=1_000) as report, closing(sqlite3.connect(name, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(1_000):
            report.advance()
            report.log("a line")
        assert not events("log")
        other.execute("COMMIT")
    assert (stored().status, stored().metadata["current"]) == ("completed", 1_000)
    assert len(events("log")) == 1_000


def test_loop__that_the_thread_collects_ends_all_the_same(job: ProcessingJobLifecycle) -> None:
    items = track([1, 2, 3], job)
    next(items)
    with told(status="failed") as ended:
        ReportThread.of_this_process().call(items.close).result(WAIT_SECONDS)
        assert ended.wait(WAIT_SECONDS)
    assert stored().error.startswith("The loop was left after 0 of 3 items")


def test_end__that_the_thread_writes_comes_behind_the_last_count(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    monkeypatch.setattr(report_thread, "report_seconds", lambda: 3600.0)
    items = track([1, 2, 3], job)
    next(items)
    next(items)
    with told(status="failed") as ended:
        ReportThread.of_this_process().call(items.close).result(WAIT_SECONDS)
        assert ended.wait(WAIT_SECONDS)
    assert [each.metadata["current"] for each in events("tick")] == [0, 1]


@contextmanager
def held_elsewhere(lock: Any) -> Iterator[None]:
    """Have another thread hold a lock."""
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            is_held.set()
            is_over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_held.wait(WAIT_SECONDS)
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_fork__leaves_the_run_to_the_parent(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        report.advance()
        for held in (report._notes.lock, ReportThread._making, report._thread._news):
            with held_elsewhere(held):
                child = os.fork()
                if child == 0:
                    signal.signal(signal.SIGALRM, signal.SIG_DFL)
                    signal.alarm(int(WAIT_SECONDS))
                    report.report(stage="in the child")  # hangs on a lock that nobody will release, were there one
                    ReportThread.of_this_process()
                    os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (stored().status, stored().metadata["current"]) == ("completed", 1)


def test_thread__ends_when_there_is_nothing_to_do(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    monkeypatch.setattr(report_thread, "LINGER_SECONDS", 0.0)
    with Reporter(job):
        thread = ReportThread.of_this_process()._thread
    assert thread is not None
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()
    with Reporter(ProcessingJobLifecycle.create("job-2")) as report, told(current=1) as shown:
        report.advance()
        assert shown.wait(WAIT_SECONDS)


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


def test_many_threads__count_together(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        threads = [threading.Thread(target=lambda: [report.advance() for _ in range(2_000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert stored().metadata["current"] == 8_000


def test_report__after_the_end_is_refused(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        report.advance()
    with pytest.raises(Exception, match="is completed"):
        report.advance()


def test_run__that_is_over_is_held_by_nobody(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        pass
    gc.collect()
    assert report._run not in ReportThread.of_this_process()._runs
    assert row("job-1")["status"] == "completed"


def test_thread__that_can_not_be_started_fails_no_work(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    def refuses(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    ReportThread.finish_of_this_process()
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuses)
        with Reporter(job, total=3) as report:
            report.report(current=2, stage="second")
            assert stored().metadata["stage"] == "second"
    assert stored().status == "completed"
    with Reporter(ProcessingJobLifecycle.create("job-2")) as report, told(current=1) as shown:
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


def test_reporter__interrupted_as_it_begins_leaves_no_job_without_a_worker(
    job: ProcessingJobLifecycle, monkeypatch: Any
) -> None:
    def interrupt(run: Any) -> None:
        add(run)
        raise KeyboardInterrupt

    thread = ReportThread.of_this_process()
    add = thread.add
    monkeypatch.setattr(thread, "add", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Reporter(job).__enter__()
    assert not thread._runs
    assert (stored().status, stored().error) == ("failed", "KeyboardInterrupt")


def test_fork__leaves_what_was_noted_to_the_parent(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        with report._thread._news:  # so that nothing is written meanwhile
            report.log("once")
            child = os.fork()
            if child == 0:
                os._exit(1 if report._run.has_entries else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(events("log")) == 1


@pytest.mark.parametrize("error", [None, ValueError("of the child")])
def test_fork__that_leaves_the_block_ends_nothing(job: ProcessingJobLifecycle, error: Exception | None) -> None:
    """As one does that ends by `sys.exit`, or by an exception that nobody handles."""
    with Reporter(job) as report:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(int(WAIT_SECONDS))
            report.__exit__(type(error), error, None)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert stored().status == "in_progress"
    assert stored().status == "completed"


def test_loop__that_is_collected_asks_the_database_nothing_there(job: ProcessingJobLifecycle) -> None:
    """It may be within a query, whose driver's lock is held."""
    items: list[Any] = [track([1, 2, 3], job)]
    items.append(items)  # so that it is garbage, and not gone at once
    next(items[0])
    del items
    with CaptureQueriesContext(connection) as queries, told(status="failed") as ended:
        gc.collect()
        assert ended.wait(WAIT_SECONDS)
    assert not queries.captured_queries


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

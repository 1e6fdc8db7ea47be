"""What a job's code counts and says, written by a thread while it works on."""

import gc
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Reporter, report_thread, track
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


def test_thread__that_can_not_start_another_to_look_for_lost_workers_goes_on(
    job: ProcessingJobLifecycle, monkeypatch: Any, caplog: Any
) -> None:
    """At a limit of threads; or as the process ends, when Python 3.12 starts none."""
    start = threading.Thread.start

    def refuses(thread: threading.Thread) -> None:
        if thread.name == "job-recovery":
            is_refused.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    ReportThread.finish_of_this_process()
    is_refused = threading.Event()
    monkeypatch.setattr(threading.Thread, "start", refuses)
    with Reporter(job) as report, told(current=1) as shown:
        assert is_refused.wait(WAIT_SECONDS)
        report.advance()
        assert shown.wait(WAIT_SECONDS)
    ReportThread.finish_of_this_process()
    [line] = caplog.messages
    assert line.startswith("This worker can't look for others that are lost: can't start new thread")
    assert row("job-1")["status"] == "completed"


def test_thread__looks_for_no_lost_workers_as_the_process_ends(monkeypatch: Any) -> None:
    thread = ReportThread()
    monkeypatch.setattr(thread, "_begin_to_look", lambda: pytest.fail("it would be waited for"))
    thread.finish()
    with Reporter(ProcessingJobLifecycle.create("job-1")) as report:
        thread._runs[report._run] = None
        thread._live()
        assert thread.lease.is_sweeper


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

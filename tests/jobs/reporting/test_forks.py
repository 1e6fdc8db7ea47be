"""A process that is forked while a job is run: the run is its parent's."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Reporter
from jobs.reporting.report_thread import ReportThread
from tests.jobs.reporting.reported import WAIT_SECONDS, events, stored

pytestmark = pytest.mark.django_db(transaction=True)


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

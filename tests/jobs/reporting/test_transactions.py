"""Runs whose code is within a transaction, or becomes part of one."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection, transaction

from jobs.exceptions import JobCancelled
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from jobs.progress_report import report_seconds
from jobs.reporting import Reporter, synchronous, track
from tests.jobs.reporting.reported import WAIT_SECONDS, stored, told

pytestmark = pytest.mark.django_db(transaction=True)

only_postgres = pytest.mark.postgres


def seen_elsewhere() -> tuple[str, Any]:
    """Return what another connection sees."""
    seen: list[Any] = []

    def look() -> None:
        job = stored()
        seen.append((job.status, job.metadata.get("current")))
        connection.close()

    looking = threading.Thread(target=look)
    looking.start()
    looking.join()
    found: tuple[str, Any] = seen[0]
    return found


def ended(status: str) -> Any:
    return told(status=status)


@only_postgres
def test_report__shows_while_the_transaction_is_open(job: ProcessingJobLifecycle) -> None:
    with transaction.atomic(), Reporter("job-1", total=9) as report:
        assert seen_elsewhere() == ("in_progress", 0)
        with told(current=2) as shown:
            report.advance(2)
            assert shown.wait(WAIT_SECONDS)
        report.advance()
        report.flush()
        assert seen_elsewhere() == ("in_progress", 3)


@only_postgres
def test_completion__comes_with_the_commit(job: ProcessingJobLifecycle) -> None:
    with transaction.atomic():
        with Reporter("job-1", total=9) as report:
            report.advance(9)
            report.result = "all"
        assert seen_elsewhere()[0] == "in_progress"
    assert (stored().status, stored().result, stored().metadata["current"]) == ("completed", "all", 9)


def test_completion__that_is_rolled_back_is_a_failure(job: ProcessingJobLifecycle) -> None:
    def work() -> None:
        with transaction.atomic():
            with Reporter("job-1", total=9) as report:
                report.advance(9)
            raise ValueError("behind the block")

    with ended("failed") as failed:
        with pytest.raises(ValueError, match="behind"):
            work()
        assert failed.wait(WAIT_SECONDS)
    assert stored().error == "The transaction in which the work was done was rolled back"


def complete_and_fail(job_id: str) -> None:
    with transaction.atomic():
        with Reporter(job_id):
            pass
        raise ValueError("behind the block")


def test_completion__that_is_rolled_back_to_a_savepoint_is_a_failure(job: ProcessingJobLifecycle) -> None:
    with ended("failed") as failed:
        with transaction.atomic(), pytest.raises(ValueError, match="behind"):
            complete_and_fail("job-1")
        assert failed.wait(WAIT_SECONDS)
    assert stored().status == "failed"


def test_failure__is_recorded_though_the_transaction_is_rolled_back(job: ProcessingJobLifecycle) -> None:
    with ended("failed") as failed:
        with pytest.raises(ZeroDivisionError), transaction.atomic(), Reporter("job-1"):
            _ = 1 / 0
        assert failed.wait(WAIT_SECONDS)
    assert (stored().status, stored().error) == ("failed", "ZeroDivisionError: division by zero")


def test_failure__of_a_loop_is_recorded_as_well(job: ProcessingJobLifecycle) -> None:
    def work() -> None:
        with transaction.atomic():
            for number in track([1, 2, 3], "job-1"):
                _ = number / 0

    with ended("failed") as failed:
        with pytest.raises(ZeroDivisionError):
            work()
        assert failed.wait(WAIT_SECONDS)
    assert stored().status == "failed"


def test_cancellation__ends_the_block_in_a_transaction(job: ProcessingJobLifecycle) -> None:
    with transaction.atomic(), Reporter("job-1"):
        raise JobCancelled("job-1")
    assert stored().status == "cancelled"


def test_transaction__within_the_block(job: ProcessingJobLifecycle) -> None:
    with Reporter("job-1", total=3) as report:
        with transaction.atomic():
            ProcessingJob.objects.filter(pk="nothing").delete()
            report.advance(2)
            report.log("within")
        with pytest.raises(ValueError, match="no"), transaction.atomic():
            raise ValueError("no")
        report.advance(1)
    assert (stored().status, stored().metadata["current"]) == ("completed", 3)


def test_job__that_is_made_in_the_transaction_is_written_in_it(job: ProcessingJobLifecycle) -> None:
    with transaction.atomic():
        ProcessingJobLifecycle.create("job-2")
        for _ in track([1, 2], "job-2"):
            pass
        assert ProcessingJob.objects.get(pk="job-2").status == "completed"
    with pytest.raises(ValueError, match="no"), transaction.atomic(), Reporter(ProcessingJobLifecycle.create("job-3")):
        raise ValueError("no")
    assert not ProcessingJob.objects.filter(pk="job-3").exists()


@only_postgres
def test_row__that_the_transaction_itself_holds_hangs_nothing(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    monkeypatch.setattr(synchronous, "WAIT_SECONDS", 0.2)
    with ended("completed") as completed:
        with transaction.atomic():
            ProcessingJobLifecycle("job-1").edit(name="another")
            with Reporter("job-1", total=2) as report:
                report.advance(2)
        assert completed.wait(WAIT_SECONDS)
    assert (stored().status, stored().metadata["current"]) == ("completed", 2)


@only_postgres
def test_start__of_a_job_that_was_cancelled(job: ProcessingJobLifecycle) -> None:
    job.request_cancel()
    with pytest.raises(JobCancelled), transaction.atomic(), Reporter("job-1"):
        raise AssertionError("the body runs")
    assert stored().status == "cancelled"


def test_process__that_ends_at_once_has_recorded_the_failure(job: ProcessingJobLifecycle) -> None:
    code = """
import django; django.setup()
from django.db import connection, transaction
from jobs.reporting import Reporter
with transaction.atomic():
    with Reporter("job-1", total=5) as report:
        report.advance(3)
        raise ValueError("the last words")
"""
    name = connection.settings_dict["NAME"]
    url = f"sqlite:///{name}"
    if connection.vendor == "postgresql":
        url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
    env = {**os.environ, "DATABASE_URL": url, "DJANGO_DEBUG": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert "ValueError: the last words" in done.stderr
    assert (stored().status, stored().error) == ("failed", "ValueError: the last words")


@only_postgres
def test_flush__that_the_thread_has_no_time_for_fails_no_work(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    monkeypatch.setattr(synchronous, "WAIT_SECONDS", 0.1)
    is_free = threading.Event()
    with ended("completed") as completed:
        with transaction.atomic(), Reporter("job-1", total=2) as report:
            report._thread.call(lambda: is_free.wait(WAIT_SECONDS))
            report.advance()
            report.flush()
            is_free.set()
        assert completed.wait(WAIT_SECONDS)


@pytest.mark.sqlite
def test_loop__that_is_left_in_a_transaction_that_lets_nobody_write_waits_for_nobody(
    job: ProcessingJobLifecycle, monkeypatch: Any
) -> None:
    monkeypatch.setattr(synchronous, "WAIT_SECONDS", WAIT_SECONDS)
    items = track([1, 2, 3], job)
    next(items)
    with ended("failed") as failed:
        with transaction.atomic():
            began = time.monotonic()
            items.close()
            assert time.monotonic() - began < WAIT_SECONDS / 2
        assert failed.wait(WAIT_SECONDS)


@pytest.mark.sqlite
@pytest.mark.parametrize("mode", [None, "deferred"])
def test_transactions__that_do_not_wait_for_their_turn_are_failed_by_no_report(
    job: ProcessingJobLifecycle, monkeypatch: Any, mode: str | None
) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "transaction_mode", mode)
    connection.close()
    try:
        with Reporter("job-1") as report:
            report.advance()
            assert not report._run.is_beside  # so nobody else writes while the work's own transaction is open
    finally:
        connection.close()
    assert stored().status == "completed"


@only_postgres
def test_rows__that_somebody_holds_keep_no_other_job_waiting(job: ProcessingJobLifecycle) -> None:
    held = [ProcessingJobLifecycle.create(f"held-{number}") for number in range(5)]
    with contextlib.ExitStack() as blocks:
        reports = [blocks.enter_context(Reporter(each)) for each in held]
        with Reporter("job-1", total=9) as report, transaction.atomic():
            list(ProcessingJob.objects.select_for_update().filter(pk__startswith="held"))
            for each in reports:
                each.advance()
            time.sleep(report_seconds())  # the thread is at them now
            began = time.monotonic()
            with told(current=2) as shown:
                report.advance(2)
                assert shown.wait(WAIT_SECONDS)
            assert time.monotonic() - began < len(held) * 1.0 / 2

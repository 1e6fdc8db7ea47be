"""Writers of one job that are in each other's way: threads that share an object, stricter isolation, no autocommit."""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.db.transaction import TransactionManagementError

from jobs.exceptions import StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Reporter
from tests.jobs.records import assert_whole, log, row

pytestmark = pytest.mark.django_db(transaction=True)


@contextlib.contextmanager
def pool(size: int) -> Iterator[Any]:
    """Threads; ``begin(work)`` returns a future. Their connections are closed."""
    with ThreadPoolExecutor(size) as executor:

        def run(work: Any) -> Any:
            try:
                return work()
            finally:
                connections.close_all()

        yield lambda work: executor.submit(run, work)


def test_threads__share_an_object_of_which_one_is_in_a_transaction(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    reported, waits = threading.Event(), threading.Event()

    def within() -> None:
        with transaction.atomic():
            lifecycle.mark_progress(1)
            reported.set()
            waits.wait(10)
            lifecycle.mark_progress(2)

    def beside() -> None:
        reported.wait(10)
        waits.set()  # or is about to
        lifecycle.log("beside")

    with pool(2) as begin:
        for done in [begin(within), begin(beside)]:
            done.result(15)
    assert_whole(lifecycle.job_id)
    assert {event["message"] for event in log(lifecycle.job_id)} == {"", "beside"}
    lifecycle.mark_completed()
    assert row(lifecycle.job_id)["seq"] == 6


def test_threads__that_share_a_reporter_lose_no_count(make_job: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("jobs.reporting.report_thread.report_seconds", lambda: 0.01)
    lifecycle = make_job()
    with Reporter(lifecycle, total=400) as report, pool(4) as begin:

        def work() -> None:
            for number in range(100):
                report.advance()
                if number % 10 == 0:
                    report.report(stage=f"stage {number}")

        for done in [begin(work) for _ in range(4)]:
            done.result(30)
    job = row(lifecycle.job_id)
    assert (job["metadata"]["current"], report.current) == (400, 400)
    counts = [event["metadata"]["current"] for event in log(lifecycle.job_id) if "current" in event["metadata"]]
    assert counts == sorted(counts)
    assert_whole(lifecycle.job_id)


@pytest.mark.postgres
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("shared", [True, False], ids=["one object", "an object each"])
def test_isolation__every_report_is_there(make_job: Any, level: str, shared: bool) -> None:
    one = make_job(status="in_progress")

    def report() -> None:
        lifecycle = one if shared else ProcessingJobLifecycle(one.job_id)
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}")
        for number in range(100):
            lifecycle.mark_progress(number)

    with pool(3) as begin:
        for done in [begin(report) for _ in range(3)]:
            done.result(60)
    assert row(one.job_id)["seq"] == 302
    assert_whole(one.job_id)


def test_autocommit_off__is_refused_and_says_what_to_do(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    transaction.set_autocommit(False)
    try:
        with pytest.raises(TransactionManagementError, match="autocommit on, or within atomic"):
            lifecycle.log("a line")
        with pytest.raises(TransactionManagementError):
            ProcessingJobLifecycle.create()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    lifecycle.log("a line")
    assert_whole(lifecycle.job_id)


def test_attempt__of_a_retry_that_was_rolled_back_opens_no_other_ones(make_job: Any) -> None:
    """Neither within a transaction that follows."""
    zombie = make_job(status="failed")
    with contextlib.suppress(KeyError), transaction.atomic():
        zombie.retry()
        raise KeyError
    rightful = ProcessingJobLifecycle(zombie.job_id)
    rightful.retry()
    rightful.mark_started()
    with pytest.raises(StaleAttempt), transaction.atomic():
        zombie.mark_completed()
    with contextlib.suppress(KeyError), transaction.atomic(), transaction.atomic():
        raise KeyError
    with pytest.raises(StaleAttempt):
        zombie.log("a line")
    assert row(zombie.job_id)["status"] == "in_progress"


def test_savepoint__that_was_rolled_back_is_not_remembered(make_job: Any, committed: list[Any]) -> None:
    lifecycle = make_job(status="failed")
    del committed[:]
    with transaction.atomic():
        lifecycle.retry()
        with contextlib.suppress(KeyError), transaction.atomic():
            lifecycle.mark_started()
            assert lifecycle.job.status == "in_progress"
            raise KeyError
        assert lifecycle.job.status == "queued"
        lifecycle.mark_started("once more")
    assert [event.message for event in committed] == ["", "once more"]
    assert lifecycle.job.status == "in_progress"
    assert_whole(lifecycle.job_id)


def test_reporter__an_end_that_was_rolled_back_is_none(make_job: Any) -> None:
    lifecycle = make_job()
    with Reporter(lifecycle) as report, contextlib.suppress(KeyError), transaction.atomic():
        report.lifecycle.mark_failed("not really")
        raise KeyError
    assert row(lifecycle.job_id)["status"] == "completed"
    assert_whole(lifecycle.job_id)


def test_job__read_in_a_transaction_binds_the_object_only_there(make_job: Any) -> None:
    job_id = make_job(status="failed").job_id
    by_id = ProcessingJobLifecycle(job_id)
    with contextlib.suppress(KeyError), transaction.atomic():
        ProcessingJobLifecycle(job_id).retry()
        assert by_id.job.attempt == 2
        by_id.mark_started()
        raise KeyError
    assert by_id.job.attempt == 1
    by_id.retry()
    assert row(job_id)["attempt"] == 2
    assert_whole(job_id)


def test_error__that_is_no_conflict_is_the_callers_at_once(make_job: Any) -> None:
    """Whatever the age that connections may have, which makes Django close them after any error."""
    lifecycle = make_job(status="in_progress")
    tries = []

    def locked(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "INSERT" in sql:
            tries.append(sql)
            raise OperationalError("database is locked")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(locked), pytest.raises(OperationalError, match="locked"):
        lifecycle.log("a line")
    assert len(tries) == 1
    lifecycle.log("another")
    assert_whole(lifecycle.job_id)


class Deadlock(Exception):
    """As PostgreSQL's driver raises it: of two transactions that wait for each other, one is given up."""

    sqlstate = "40P01"


@pytest.mark.parametrize("is_known", [True, False])
def test_deadlock__whose_victim_was_ours_is_repeated(make_job: Any, committed: list[Any], is_known: bool) -> None:
    lifecycle = make_job(status="in_progress")
    if not is_known:
        lifecycle = ProcessingJobLifecycle(lifecycle.job_id)
    failures = [Deadlock("deadlock detected")] * 3

    def gives_up(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "INSERT" in sql and failures:
            raise OperationalError("deadlock detected") from failures.pop()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(gives_up):
        lifecycle.log("a line")
    assert [event.message for event in committed] == ["", "", "a line"]
    assert_whole(lifecycle.job_id)

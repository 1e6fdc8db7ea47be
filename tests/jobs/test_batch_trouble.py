"""Changes of several jobs, written together while the database refuses, or others hold what they need."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, connections, transaction

from jobs.batch import write_together
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from tests.jobs.batches import JOBS, failing, pending, said
from tests.jobs.records import assert_whole
from tests.jobs.test_conflicts import Deadlock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("word", ["UPDATE", "INSERT"])
def test_error__of_the_joint_statement_each_is_written_alone(running: Any, committed: list[Any], word: str) -> None:
    with failing(word, IntegrityError("of one of them")):
        assert write_together([pending(lifecycle, 10, "a") for lifecycle in running]) == [None] * JOBS
    for lifecycle in running:
        assert said(lifecycle) == [10, "a"]
        assert_whole(lifecycle.job_id)
    assert len(committed) == 2 * JOBS


def test_locked__a_database_is_waited_for_once(running: Any, committed: list[Any]) -> None:
    batch = [pending(lifecycle, 10, "a") for lifecycle in running]
    with failing("INSERT", *[OperationalError("database is locked")] * 9) as tried:
        answers = write_together(batch)
    assert len(tried) == 1
    assert [str(answer) for answer in answers] == ["database is locked"] * JOBS
    assert committed == []
    assert write_together(batch) == [None] * JOBS
    for lifecycle in running:
        assert said(lifecycle) == [10, "a"]
        assert_whole(lifecycle.job_id)


def test_deadlock__whose_victim_was_ours_is_repeated(running: Any, committed: list[Any]) -> None:
    error = OperationalError("deadlock detected")
    error.__cause__ = Deadlock("deadlock detected")
    with failing("INSERT", error, error) as tried:
        assert write_together([pending(lifecycle, 10, "a") for lifecycle in running]) == [None] * JOBS
    assert len(tried) == 3
    assert len(committed) == 2 * JOBS


@pytest.mark.postgres
def test_locked__a_row_hinders_no_other_and_is_answered_for(running: Any, committed: list[Any]) -> None:
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            ProcessingJob.objects.select_for_update().get(pk="job-1")
            held.set()
            release.wait(20)
        connection.close()

    batch = [pending(lifecycle, 10, "a") for lifecycle in running]
    with ThreadPoolExecutor(1) as pool, connection.cursor() as cursor:
        done = pool.submit(hold)
        try:
            assert held.wait(10)
            cursor.execute("SET lock_timeout = '100ms'")
            answers = write_together(batch)
            written = {event.job_id for event in committed}
        finally:
            cursor.execute("RESET lock_timeout")
            release.set()
            done.result()
    assert [type(answer) for answer in answers] == [type(None), OperationalError, type(None), type(None)]
    assert written == {"job-0", "job-2", "job-3"}
    assert write_together(batch) == [None] * JOBS
    for lifecycle in running:
        assert said(lifecycle) == [10, "a"]
        assert_whole(lifecycle.job_id)


@pytest.mark.parametrize("shared", [True, False], ids=["one object", "an object each"])
def test_threads__write_the_same_jobs_in_any_order(running: Any, committed: list[Any], shared: bool) -> None:
    def work(name: str) -> Callable[[], list[Any]]:
        own = running if shared else [ProcessingJobLifecycle(lifecycle.job_id) for lifecycle in running]

        def run() -> list[Any]:
            try:
                order = own if name in "ac" else own[::-1]
                return [
                    write_together([pending(lifecycle, f"{name} {n}", "x", n) for lifecycle in order])
                    for n in range(15)
                ]
            finally:
                connections.close_all()

        return run

    with ThreadPoolExecutor(3) as pool:
        answers = [one.result(50) for one in [pool.submit(work(name)) for name in "abc"]]
    assert answers == [[[None] * JOBS] * 15] * 3
    for lifecycle in running:
        words = said(lifecycle)
        for name in "abc":
            assert [word for word in words if str(word).startswith(name)] == [f"{name} {n}" for n in range(15)]
        assert len(words) == 3 * 15 * 3
        assert_whole(lifecycle.job_id)
    assert len({(event.job_id, event.seq) for event in committed}) == len(committed) == JOBS * 3 * 15 * 3

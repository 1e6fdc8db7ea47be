"""A COMMIT whose answer is lost, of a lifecycle that threads share: each call knows its own writes, and no other's."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from jobs import database
from tests.jobs.cuts import cut, in_thread
from tests.jobs.records import assert_whole, log

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_age")]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """``meanwhile(work)``: before the next try of a transaction, another thread does this."""

    def arrange(work: Callable[[], None]) -> None:
        sleep = database.time.sleep

        def overtaken(_: float) -> None:
            monkeypatch.setattr(database.time, "sleep", sleep)
            in_thread(work)

        monkeypatch.setattr(database.time, "sleep", overtaken)

    return arrange


def lines(job_id: str) -> list[str]:
    return [event["message"] for event in log(job_id) if event["kind"] == "log"]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("other", ["b", "a"])
def test_log__another_thread_writes_meanwhile(make_job: Any, meanwhile: Any, moment: str, other: str) -> None:
    lifecycle = make_job(status="in_progress")
    with cut(moment, word="INSERT"):
        meanwhile(lambda: lifecycle.log(other))
        lifecycle.log("a")
    assert sorted(lines(lifecycle.job_id)) == sorted(["a", other])
    assert_whole(lifecycle.job_id)


def test_end__another_thread_writes_meanwhile(make_job: Any, meanwhile: Any, committed: list[Any]) -> None:
    lifecycle = make_job(status="in_progress")
    with cut("after", word="INSERT"):
        meanwhile(lambda: lifecycle.log("b"))
        lifecycle.mark_completed("done")
    assert lifecycle.job.status == "completed"
    assert sorted(event.seq for event in committed) == [1, 2, 3, 4]
    assert_whole(lifecycle.job_id)


def test_log__of_threads_that_run_freely(make_job: Any, committed: list[Any]) -> None:
    """All write the same line, so that one could be taken for another's."""
    lifecycle = make_job(status="in_progress")
    is_over = threading.Event()
    written: list[int] = []

    def work() -> None:
        count = 0
        while not is_over.is_set():
            lifecycle.log("x")
            count += 1
        written.append(count)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            with cut("after", word="INSERT"):
                lifecycle.log("x")
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert len(lines(lifecycle.job_id)) == sum(written) + 8
    assert {event.seq for event in committed} == set(range(1, sum(written) + 11))
    assert_whole(lifecycle.job_id)

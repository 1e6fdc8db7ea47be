"""A disk that is full: SQLite says so by itself where it may take no more pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection

from jobs.reporting import Reporter, synchronous
from tests.jobs.records import assert_whole, log, row

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def full() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")  # else there is room within the file
        cursor.execute("PRAGMA page_count")
        cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0]}")
        yield
        cursor.execute("PRAGMA max_page_count = 1000000")


def test_reports__wait_until_there_is_room(make_job: Any, warned: list[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(synchronous, "can_be_written_beside", lambda *_: False)  # the disk is full for this connection
    lifecycle = make_job("job-1")
    with Reporter("job-1", total=200) as report:
        with full():
            for _ in range(100):
                report.advance(message="x" * 1_000)
            assert "disk is full" in warned[0]
            told = row("job-1")["metadata"]["current"]
            assert told < 100
        for _ in range(100):
            report.advance()
    counts = [event["metadata"]["current"] for event in log("job-1") if event["kind"] == "tick"]
    assert counts == [*range(told + 1), *range(101, 201)]
    assert row("job-1")["status"] == "completed"
    assert_whole(lifecycle.job_id)


def test_calls__are_told_and_work_again_when_there_is_room(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")

    def report() -> None:
        for number in range(100):
            lifecycle.mark_progress(number, message="x" * 1_000)

    with full(), pytest.raises(OperationalError, match="full"):
        report()
    lifecycle.mark_completed()
    assert_whole(lifecycle.job_id)

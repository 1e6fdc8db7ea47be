"""What a progress report says of speed and time left: the same, however often the writer had to decide on it."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from jobs.exceptions import InvalidValue
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from jobs.rate import RateEstimator, eta_seconds
from tests.jobs.records import assert_whole, row

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clock() -> Iterator[mock.Mock]:
    """The monotonic clock, which stands at 100 seconds until a test sets it."""
    with mock.patch.object(time, "monotonic", return_value=100.0) as monotonic:
        yield monotonic


@pytest.fixture
def running(clock: mock.Mock, make_job: Any) -> ProcessingJobLifecycle:
    lifecycle: ProcessingJobLifecycle = make_job(status="in_progress", metadata={"mine": 1})
    return lifecycle


def speed(lifecycle: ProcessingJobLifecycle) -> tuple[float | None, float | None]:
    """Return the rate and the time left that watchers are shown."""
    assert_whole(lifecycle.job_id)
    metadata = row(lifecycle.job_id)["metadata"]
    return metadata.get("rate"), metadata.get("eta_seconds")


def test_report__that_is_decided_twice_counts_once(running: ProcessingJobLifecycle, clock: mock.Mock) -> None:
    """Another writer wrote meanwhile, and the row's lock takes four seconds to get."""
    ProcessingJobLifecycle(running.job_id).log("meanwhile")
    looks = []

    def slow(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("SELECT"):
            looks.append(sql)
            clock.return_value += 4
        return execute(sql, params, many, context)

    clock.return_value = 104.0
    with connection.execute_wrapper(slow):
        running.mark_progress(current=20, total=50)
    assert looks
    assert speed(running) == (5.0, 6.0)
    clock.return_value = 108.0
    running.mark_progress(current=40)
    assert speed(running) == (5.0, 2.0)


def test_report__that_was_refused_does_not_count(running: ProcessingJobLifecycle, clock: mock.Mock) -> None:
    running.mark_progress(metadata={"half": "x" * 9_000})
    clock.return_value = 104.0
    with pytest.raises(InvalidValue, match="bytes"):
        running.mark_progress(current=40, total=50, metadata={"other half": "x" * 9_000})
    running.mark_progress(current=20, total=50)
    assert speed(running) == (5.0, 6.0)


def test_report__that_was_rolled_back_does_not_count(running: ProcessingJobLifecycle, clock: mock.Mock) -> None:
    def full(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "INSERT" in sql:
            raise OperationalError("database or disk is full")
        return execute(sql, params, many, context)

    clock.return_value = 104.0
    with connection.execute_wrapper(full), pytest.raises(OperationalError):
        running.mark_progress(current=40, total=50)
    running.mark_progress(current=20, total=50)
    assert speed(running) == (5.0, 6.0)


def test_progressed__another_process_states_the_mean_rate_since_the_start(running: ProcessingJobLifecycle) -> None:
    job = ProcessingJob.objects.get(pk=running.job_id)
    assert job.started_at is not None
    now = job.started_at + timedelta(seconds=4)
    with mock.patch.object(timezone, "now", return_value=now):
        ProcessingJobLifecycle(running.job_id).mark_progress(current=20, total=50)
    metadata = row(running.job_id)["metadata"]
    assert (metadata["rate"], metadata["eta_seconds"]) == (5.0, 6.0)


def test_progressed__a_job_that_stands_still_has_no_time_left(running: ProcessingJobLifecycle) -> None:
    clock = time.monotonic()
    running._rate = RateEstimator(0, clock)
    with mock.patch.object(time, "monotonic") as monotonic:
        monotonic.return_value = clock + 2
        running.mark_progress(current=20, total=50)
        assert "eta_seconds" in row(running.job_id)["metadata"]
        for _ in range(200):
            monotonic.return_value += 30
            running.mark_progress(current=20)
    metadata = row(running.job_id)["metadata"]
    assert "eta_seconds" not in metadata
    assert metadata["rate"] == 0


def test_eta__is_none_past_a_hundred_days() -> None:
    assert eta_seconds(8_640_000, 1) == 8_640_000
    assert eta_seconds(8_640_001, 1) is None
    assert eta_seconds(1, 5e-324) is None


def test_progressed__the_time_left_by_percent(running: ProcessingJobLifecycle) -> None:
    start = time.monotonic()
    running._rate = RateEstimator(0, start)
    with mock.patch.object(time, "monotonic", return_value=start + 4):
        running.mark_progress(20)
    metadata = row(running.job_id)["metadata"]
    assert metadata["eta_seconds"] == pytest.approx(16.0, abs=0.1)
    assert "rate" not in metadata


def test_started__the_rate_counts_from_there(make_job: Any) -> None:
    with mock.patch.object(time, "monotonic", return_value=100.0) as monotonic:
        lifecycle = make_job(status="in_progress")
        monotonic.return_value = 104.0
        lifecycle.mark_progress(current=20)
    assert row(lifecycle.job_id)["metadata"]["rate"] == pytest.approx(5.0)

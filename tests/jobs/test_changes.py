"""What a progress report makes of counts, percent, message, stage and metadata."""

import json
import time
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.utils import timezone

from jobs import changes, database
from jobs.exceptions import InvalidValue
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from jobs.rate import RateEstimator
from tests.jobs.records import assert_whole, log, row

pytestmark = pytest.mark.django_db


@pytest.fixture
def running(make_job: Any) -> ProcessingJobLifecycle:
    lifecycle: ProcessingJobLifecycle = make_job(status="in_progress", metadata={"mine": 1})
    return lifecycle


def shown(lifecycle: ProcessingJobLifecycle) -> dict[str, Any]:
    """Return the job's metadata without what depends on the clock, after a check of the log."""
    assert_whole(lifecycle.job_id)
    metadata: dict[str, Any] = row(lifecycle.job_id)["metadata"]
    return {key: value for key, value in metadata.items() if key not in ("rate", "eta_seconds")}


@pytest.mark.parametrize(
    ("arguments", "progress"),
    [
        ({"progress": 0}, 0.0),
        ({"progress": 100}, 100.0),
        ({"progress": 33.3}, 33.3),
        ({"current": 1, "total": 3}, 33.33),
        ({"current": 2, "total": 3}, 66.66),
        ({"current": 19_999, "total": 20_000}, 99.99),
        ({"current": 10**18 - 1, "total": 10**18}, 99.99),
        ({"current": 1.0 - 1e-15, "total": 1.0}, 99.99),
        ({"current": 29, "total": 100}, 29.0),
        ({"current": 0.57, "total": 1}, 57.0),
        ({"current": 0, "total": 3}, 0.0),
        ({"current": 3, "total": 3}, 100.0),
        ({"current": 0, "total": 0}, 100.0),
        ({"current": 0.5, "total": 2}, 25.0),
        ({"current": 7}, None),
        ({"progress": 10, "current": 7}, 10.0),
        ({"progress": 10, "current": 1, "total": 2}, 10.0),
        ({"message": "only"}, 0.0),
        ({"total": 5}, 0.0),
    ],
)
def test_progressed__percent(
    running: ProcessingJobLifecycle, arguments: dict[str, Any], progress: float | None
) -> None:
    running.mark_progress(**arguments)
    assert row(running.job_id)["progress"] == progress
    counts = {key: arguments[key] for key in ("current", "total") if key in arguments}
    assert shown(running) == {"mine": 1, "attempt": 1, **counts}


def test_progressed__total_is_remembered(running: ProcessingJobLifecycle) -> None:
    running.mark_progress(total=8)
    running.mark_progress(current=2)
    assert row(running.job_id)["progress"] == 25.0


def test_progressed__indeterminate_until_the_total_is_known(running: ProcessingJobLifecycle) -> None:
    running.mark_progress(current=2)
    assert row(running.job_id)["progress"] is None
    running.mark_progress(message="counting")
    assert row(running.job_id)["progress"] is None
    running.mark_progress(current=2, total=4)
    assert row(running.job_id)["progress"] == 50.0


def test_progressed__what_is_not_given_stays(running: ProcessingJobLifecycle) -> None:
    running.mark_progress(10, message="reading", stage="one", metadata={"file": "a"})
    running.mark_progress(20)
    job = row(running.job_id)
    assert (job["progress"], job["message"]) == (20.0, "reading")
    assert shown(running) == {"mine": 1, "attempt": 1, "stage": "one", "file": "a"}


def test_progressed__metadata_is_merged_key_by_key(running: ProcessingJobLifecycle) -> None:
    running.mark_progress(metadata={"a": {"x": 1}, "b": 1})
    running.mark_progress(metadata={"a": {"y": 2}, "mine": None})
    assert shown(running) == {"mine": None, "attempt": 1, "a": {"y": 2}, "b": 1}


def test_progressed__stage_may_come_in_the_metadata(running: ProcessingJobLifecycle) -> None:
    running.mark_progress(metadata={"stage": "two"})
    assert log(running.job_id)[-1]["kind"] == "stage"
    assert shown(running)["stage"] == "two"


def test_progressed__same_stage_is_a_tick(running: ProcessingJobLifecycle) -> None:
    for _ in range(2):
        running.mark_progress(stage="one")
    assert [event["kind"] for event in log(running.job_id)[-2:]] == ["stage", "tick"]


def test_progressed__rate_and_time_left(running: ProcessingJobLifecycle) -> None:
    start = time.monotonic()
    running._rate = RateEstimator(0, start)
    with mock.patch.object(time, "monotonic", return_value=start + 4):
        running.mark_progress(current=20, total=50)
    metadata = row(running.job_id)["metadata"]
    assert (metadata["rate"], metadata["eta_seconds"]) == (pytest.approx(5.0, abs=0.01), pytest.approx(6.0, abs=0.1))
    running.mark_completed()
    assert shown(running) == {"mine": 1, "attempt": 1, "current": 50, "total": 50}
    assert row(running.job_id)["metadata"].keys() == {"mine", "attempt", "current", "total"}


def test_change_of_status__keeps_metadata_and_replaces_the_message(running: ProcessingJobLifecycle) -> None:
    running.mark_progress(current=1, total=2, message="reading", stage="one")
    running.mark_completed(metadata={"more": 2})
    assert row(running.job_id)["message"] == ""
    assert shown(running) == {"mine": 1, "attempt": 1, "stage": "one", "current": 2, "total": 2, "more": 2}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("plain", "plain"),
        ("", ""),
        (ValueError("bad"), "ValueError: bad"),
        (KeyError("k"), "KeyError: 'k'"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_error_text__in_words(error: Any, words: str) -> None:
    assert changes.error_text(error) == words


def test_decisions__touch_no_database_and_no_job(
    running: ProcessingJobLifecycle, django_assert_num_queries: Any
) -> None:
    job = running.job
    before = {**job.__dict__, "metadata": dict(job.metadata)}
    with django_assert_num_queries(0):
        changes.completed(job, message="done", result={"a": 1}, metadata={"b": 2})
    assert job.__dict__ == before
    assert isinstance(job, ProcessingJob)


# Counts that change their minds


def test_progressed__a_total_that_comes_late_makes_a_percentage(running: ProcessingJobLifecycle) -> None:
    running.mark_progress(current=30)
    assert row(running.job_id)["progress"] is None
    running.mark_progress(total=100)
    assert row(running.job_id)["progress"] == 30.0
    running.mark_progress(total=200)
    assert row(running.job_id)["progress"] == 15.0


def test_progressed__a_total_below_what_is_done_is_refused(running: ProcessingJobLifecycle) -> None:
    running.mark_progress(current=30, total=100)
    with pytest.raises(InvalidValue, match="30 is above the total 20"):
        running.mark_progress(total=20)
    assert row(running.job_id)["metadata"]["total"] == 100


@pytest.mark.parametrize("steps", [49, 3, 7, 1000])
def test_progressed__sums_of_floats_end_at_a_hundred(running: ProcessingJobLifecycle, steps: int) -> None:
    progress = current = 0.0
    for _ in range(steps):
        progress += 100 / steps
        current += 1 / steps
    running.mark_progress(progress)
    assert row(running.job_id)["progress"] == pytest.approx(100)
    assert row(running.job_id)["progress"] <= 100
    running.mark_progress(current=current, total=1)
    assert row(running.job_id)["metadata"]["current"] <= 1


@pytest.mark.parametrize("progress", [100.0001, -0.0001, 101])
def test_progressed__beyond_rounding_is_refused(running: ProcessingJobLifecycle, progress: float) -> None:
    with pytest.raises(InvalidValue):
        running.mark_progress(progress)


@pytest.mark.parametrize("counts", [(1e307, 1e307), (1, 1e19), (10**30, 10**31)])
def test_progressed__counts_that_nobody_counts_to_are_refused(
    running: ProcessingJobLifecycle, counts: tuple[float, float]
) -> None:
    with pytest.raises(InvalidValue, match="from 0 to 1e\\+18"):
        running.mark_progress(current=counts[0], total=counts[1])


@pytest.mark.parametrize("counts", [(5e-324, 5e-324), (0, 5e-324), (1e18, 1e18), (1e-300, 1e18)])
def test_progressed__the_smallest_and_the_largest_stay_finite(
    running: ProcessingJobLifecycle, counts: tuple[float, float]
) -> None:
    for _ in range(3):
        running.mark_progress(current=counts[0], total=counts[1])
    json.dumps([row(running.job_id)[name] for name in ("progress", "metadata")], allow_nan=False)


def test_progressed__an_empty_message_clears_it(running: ProcessingJobLifecycle) -> None:
    running.mark_progress(message="reading")
    running.mark_progress(5)
    assert row(running.job_id)["message"] == "reading"
    running.mark_progress(message="")
    assert row(running.job_id)["message"] == ""


def test_times__a_clock_that_is_set_back_ends_nothing_before_its_start(running: ProcessingJobLifecycle) -> None:
    an_hour_ago = timezone.now() - timedelta(hours=1)
    with (
        mock.patch.object(database, "now", return_value=an_hour_ago),
        mock.patch.object(timezone, "now", return_value=an_hour_ago),
    ):
        ProcessingJobLifecycle(running.job_id).mark_progress(current=1, total=4)
        assert "rate" not in row(running.job_id)["metadata"]
        running.mark_completed()
    job = row(running.job_id)
    assert job["started_at"] <= job["finished_at"] == job["updated_at"]
    assert all(event["timestamp"] >= job["created_at"] for event in log(running.job_id))

"""What a progress report makes of counts, percent, message, stage and metadata."""

from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.utils import timezone

from jobs import changes
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
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
    start = timezone.now()
    running._rate.reset(0, start.timestamp())
    with mock.patch.object(changes.timezone, "now", return_value=start + timedelta(seconds=4)):
        running.mark_progress(current=20, total=50)
    metadata = row(running.job_id)["metadata"]
    assert (metadata["rate"], metadata["eta_seconds"]) == (pytest.approx(5.0, abs=0.01), pytest.approx(6.0, abs=0.1))
    running.mark_completed()
    assert row(running.job_id)["metadata"].keys() == {"mine", "attempt", "current", "total"}


def test_change_of_status__keeps_metadata_and_replaces_the_message(running: ProcessingJobLifecycle) -> None:
    running.mark_progress(current=1, total=2, message="reading", stage="one")
    running.mark_completed(metadata={"more": 2})
    assert row(running.job_id)["message"] == ""
    assert shown(running) == {"mine": 1, "attempt": 1, "stage": "one", "current": 1, "total": 2, "more": 2}


@pytest.mark.parametrize(
    ("error", "words"),
    [("plain", "plain"), ("", ""), (ValueError("bad"), "ValueError: bad"), (KeyError("k"), "KeyError: 'k'")],
)
def test_error_text__in_words(error: Any, words: str) -> None:
    assert changes.error_text(error) == words


def test_decisions__touch_no_database_and_no_job(
    running: ProcessingJobLifecycle, django_assert_num_queries: Any
) -> None:
    job = running.job
    before = {**job.__dict__, "metadata": dict(job.metadata)}
    with django_assert_num_queries(0):
        changes.completed(job, "done", {"a": 1}, {"b": 2})
    assert job.__dict__ == before
    assert isinstance(job, ProcessingJob)


def test_progressed__another_process_states_the_mean_rate_since_the_start(running: ProcessingJobLifecycle) -> None:
    job = ProcessingJob.objects.get(pk=running.job_id)
    assert job.started_at is not None
    now = job.started_at + timedelta(seconds=4)
    with mock.patch.object(changes.timezone, "now", return_value=now):
        ProcessingJobLifecycle(running.job_id).mark_progress(current=20, total=50)
    metadata = row(running.job_id)["metadata"]
    assert (metadata["rate"], metadata["eta_seconds"]) == (5.0, 6.0)

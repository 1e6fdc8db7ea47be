"""A request to cancel that the worker does not answer in time is recorded once, and nothing else changes."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import OperationalError, connection
from django.test import override_settings
from django.utils import timezone

from jobs import cancellation
from jobs.cancellation import record_unanswered, waiting_jobs
from jobs.exceptions import InvalidValue
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobAction, ProcessingJob
from jobs.retention import pace
from jobs.states import EventKind
from tests.jobs.records import assert_whole, log, row, stored

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(pace, "REST", 0)


@pytest.fixture
def asked(make_job: Any) -> Any:
    """``asked(job_id, seconds)``: a running job that was asked to end so many seconds ago."""

    def asked(job_id: str, seconds: float = 0) -> ProcessingJobLifecycle:
        worker: ProcessingJobLifecycle = make_job(job_id, status="in_progress")
        worker.mark_progress(30, message="on its way", stage="first")
        ProcessingJobLifecycle(job_id).request_cancel()
        wait(job_id, seconds)
        return worker

    return asked


def wait(job_id: str, seconds: float) -> None:
    """Have the request be of so many seconds ago."""
    since = timezone.now() - timedelta(seconds=seconds)
    ProcessingJob.objects.filter(pk=job_id).update(cancel_requested_at=since)


def is_recorded(job_id: str) -> bool:
    of_row = row(job_id)
    assert ("cancel_unanswered" in of_row["metadata"]) is (of_row["cancel_unanswered_at"] is not None)
    return "cancel_unanswered" in of_row["metadata"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(61, "1 minute"), (179, "2 minutes"), (3_700, "1 hour"), (90_000, "1 day"), (10_000_000, "115 days")],
)
def test_record__says_how_long_ago_it_was_asked_for(
    asked: Any, committed: list[Any], seconds: float, words: str
) -> None:
    asked("job-1", seconds)
    before = row("job-1")
    record_unanswered()
    after, event = row("job-1"), committed[-1]
    assert after["message"] == f"Cancellation requested {words} ago; the worker has not answered"
    assert after["metadata"] == {**before["metadata"], "cancel_unanswered": True}
    assert after["status"] == "in_progress"
    assert (event.kind, event.seq, event.metadata) == (EventKind.STATUS, before["seq"] + 1, after["metadata"])
    assert after["cancel_unanswered_at"] == after["status_changed_at"] == after["updated_at"] == event.timestamp
    assert after["cancel_requested_at"] == before["cancel_requested_at"]
    assert_whole("job-1")
    assert JobAction.objects.count() == 1, "that is of the request"


def test_record__in_seconds_where_the_grace_is_short(asked: Any, settings: Any) -> None:
    settings.JOBS_CANCEL_SECONDS = 5
    asked("job-1", 5.5)
    record_unanswered()
    assert row("job-1")["message"] == "Cancellation requested 5 seconds ago; the worker has not answered"


def test_record__once_and_only_of_what_is_due(asked: Any, make_job: Any) -> None:
    asked("early", 59)
    asked("due", 61)
    make_job("not-asked", status="in_progress")
    record_unanswered()
    assert [name for name in ("early", "due", "not-asked") if is_recorded(name)] == ["due"]
    before = stored("due")
    record_unanswered()
    ProcessingJobLifecycle("due").mark_cancel_unanswered(seconds=60)
    assert stored("due") == before


@pytest.mark.parametrize("end", ["mark_cancelled", "mark_completed", "mark_failed", "mark_queued"])
def test_record__of_what_has_ended_meanwhile_is_nothing(asked: Any, monkeypatch: Any, end: str) -> None:
    """Between the look and the lock."""
    worker = asked("job-1", 61)
    mark = ProcessingJobLifecycle.mark_cancel_unanswered

    def too_late(self: ProcessingJobLifecycle, *, seconds: float) -> None:
        getattr(worker, end)()
        mark(self, seconds=seconds)

    monkeypatch.setattr(ProcessingJobLifecycle, "mark_cancel_unanswered", too_late)
    record_unanswered()
    assert not is_recorded("job-1")
    assert log("job-1")[-1]["message"] == ""


def test_record__of_a_new_attempt_that_was_asked_as_well_waits_for_that(asked: Any, monkeypatch: Any) -> None:
    worker = asked("job-1", 61)
    mark = ProcessingJobLifecycle.mark_cancel_unanswered

    def too_late(self: ProcessingJobLifecycle, *, seconds: float) -> None:
        worker.mark_queued()
        worker.mark_started()
        worker.request_cancel()
        mark(self, seconds=seconds)

    monkeypatch.setattr(ProcessingJobLifecycle, "mark_cancel_unanswered", too_late)
    record_unanswered()
    assert row("job-1")["attempt"] == 2
    assert not is_recorded("job-1")


def test_record__of_a_job_that_was_deleted_meanwhile(asked: Any, monkeypatch: Any) -> None:
    asked("job-1", 62)
    asked("job-2", 61)
    mark = ProcessingJobLifecycle.mark_cancel_unanswered

    def too_late(self: ProcessingJobLifecycle, *, seconds: float) -> None:
        ProcessingJob.objects.filter(pk="job-1").delete()
        mark(self, seconds=seconds)

    monkeypatch.setattr(ProcessingJobLifecycle, "mark_cancel_unanswered", too_late)
    record_unanswered()
    assert is_recorded("job-2")


def test_worker__that_answers_later_goes_on_and_ends_as_usual(asked: Any) -> None:
    worker = asked("job-1", 61)
    record_unanswered()
    worker.mark_progress(40, message="still there")
    assert worker.cancel_requested
    assert is_recorded("job-1")
    worker.mark_cancelled()
    assert row("job-1")["metadata"] == {"attempt": 1, "stage": "first", "cancel_requested": True}
    assert_whole("job-1")


@pytest.mark.parametrize("end", ["mark_failed", "mark_queued"])
def test_mark__leaves_with_the_attempt_and_the_next_is_asked_anew(asked: Any, end: str) -> None:
    worker = asked("job-1", 61)
    record_unanswered()
    getattr(worker, end)()
    if end == "mark_failed":
        worker.retry()
    assert row("job-1")["metadata"] == {"attempt": 2}
    assert (row("job-1")["cancel_requested_at"], row("job-1")["cancel_unanswered_at"]) == (None, None)
    worker.mark_started()
    worker.request_cancel()
    wait("job-1", 61)
    record_unanswered()
    assert is_recorded("job-1")


def test_mark__is_the_lifecycles_own(make_job: Any) -> None:
    with pytest.raises(InvalidValue, match="cancel_unanswered"):
        make_job(metadata={"cancel_unanswered": True})


def test_record__a_bad_row_harms_its_own_job_only_and_is_not_tried_again(
    asked: Any, caplog: pytest.LogCaptureFixture
) -> None:
    asked("bad", 62)
    asked("job-1", 61)
    with connection.cursor() as cursor:
        bad = f'{{"a": {"9" * 5000}}}'
        cursor.execute(f"UPDATE {ProcessingJob._meta.db_table} SET metadata = %s WHERE id = 'bad'", [bad])
    logging.getLogger("jobs").addHandler(caplog.handler)
    try:
        for _ in range(3):
            record_unanswered()
    finally:
        logging.getLogger("jobs").removeHandler(caplog.handler)
    assert is_recorded("job-1")
    (record,) = caplog.records
    assert "bad" in record.getMessage()


def test_record__without_a_database_raises(asked: Any, monkeypatch: Any) -> None:
    asked("job-1", 61)

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(ProcessingJobLifecycle, "mark_cancel_unanswered", away)
        with pytest.raises(OperationalError):
            record_unanswered()
    record_unanswered()
    assert is_recorded("job-1")


# When to look again


@pytest.mark.parametrize(
    ("grace", "waiting", "expected"),
    [
        (60, [], 60),  # whoever is asked from now on has as long
        (60, [10], 50),
        (60, [10, 30], 30),
        (60, [61], 60),
        (60, [70, 50], 10),
        (1, [], 3),  # an idle site is asked no more often than that
        (2, [0], 2),
    ],
)
def test_record__says_when_the_next_is_due(
    asked: Any, settings: Any, grace: float, waiting: list[float], expected: float
) -> None:
    settings.JOBS_CANCEL_SECONDS = grace
    for number, _ in enumerate(waiting):
        asked(f"job-{number}")
    for number, seconds in enumerate(waiting):
        wait(f"job-{number}", seconds)
    assert record_unanswered() == pytest.approx(expected, abs=0.9)


def test_record__of_very_many_a_part_and_then_the_others(asked: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(cancellation, "MOST", 2)
    for number in range(5):
        asked(f"job-{number}", 100 - number)
    assert record_unanswered() == 0
    assert [is_recorded(f"job-{number}") for number in range(5)] == [True, True, False, False, False]
    assert record_unanswered() == 0
    assert record_unanswered() > 50
    assert all(is_recorded(f"job-{number}") for number in range(5))


def test_record__ends_where_the_pause_says_so(asked: Any) -> None:
    asked("job-1", 62)
    asked("job-2", 61)
    record_unanswered(lambda _: True)
    assert [is_recorded("job-1"), is_recorded("job-2")] == [True, False]


def test_look__goes_by_the_index(asked: Any) -> None:
    """Which holds nothing of all other jobs, nor of those that are recorded."""
    now = timezone.now()
    ProcessingJob.objects.bulk_create(
        ProcessingJob(status="cancelled", cancel_requested_at=now, finished_at=now) for _ in range(2_000)
    )
    ProcessingJob.objects.bulk_create(
        ProcessingJob(status="in_progress", cancel_requested_at=now, cancel_unanswered_at=now) for _ in range(2_000)
    )
    asked("job-1", 61)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    assert "job_cancel_requested" in waiting_jobs().values_list("pk", "cancel_requested_at")[:101].explain()


@pytest.mark.parametrize("value", [0, 0.5, -1, True, "60", None, 86_401])
def test_check__says_what_is_wrong(value: Any) -> None:
    with override_settings(JOBS_CANCEL_SECONDS=value):
        (problem,) = [each for each in run_checks() if each.id == "jobs.E007"]
    assert "JOBS_CANCEL_SECONDS" in problem.msg
    assert "jobs.E007" not in [each.id for each in run_checks()]

"""Which workers are found lost, by looks of any process."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from jobs.leases import Worker
from jobs.models import ProcessingJob
from jobs.recovery import sweep
from jobs.recovery.sweep import look
from jobs.recovery.worker_lease import TTL_SECONDS
from tests.jobs.records import log, row, stored
from tests.jobs.recovery.lost import DEAD, REQUEUE, MakeJob, begin, find, mark_of, silence, wait_out

pytestmark = pytest.mark.django_db(transaction=True)


def test_look__where_nobody_is_late_is_one_query(django_assert_num_queries: Any) -> None:
    begin("job-1")
    silence(seconds=-10)
    with django_assert_num_queries(1):
        assert look() == (sweep.LOOK_SECONDS, 0, 0)


def test_look__goes_by_the_index() -> None:
    """Which holds nothing of what has ended, or is held by nobody."""
    now = timezone.now()
    ProcessingJob.objects.bulk_create(ProcessingJob(status="completed", finished_at=now) for _ in range(3_000))
    begin("job-1")
    silence()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    jobs = sweep.jobs_in_need()
    assert "job_worker" in jobs.explain()


def test_worker__that_is_late_for_a_moment_is_not_lost() -> None:
    begin("job-1")
    silence()
    assert look() == (sweep.LATE_LOOK_SECONDS, 1, 0)
    assert mark_of("job-1") is None
    Worker.objects.update(late_since=timezone.now() - timedelta(seconds=sweep.LATE_SECONDS - 1))
    look()
    assert mark_of("job-1") is None


def test_worker__that_nobody_looked_at_for_a_while_has_its_time_again() -> None:
    """Whoever looks was paused, or the database away: so may the worker have been."""
    begin("job-1")
    silence()
    look()
    long_ago = timezone.now() - timedelta(seconds=sweep.GAP_SECONDS + 1)
    Worker.objects.update(late_since=long_ago - timedelta(seconds=60), late_at=long_ago)
    look()
    worker = Worker.objects.get()
    assert worker.late_since == worker.late_at
    assert mark_of("job-1") is None


@pytest.mark.parametrize("seconds", [-30, -300])
def test_worker__after_the_clock_was_set_back(seconds: float) -> None:
    """By a little, its lease is longer; by far, it is taken for late, and has its time to renew it."""
    begin("job-1")
    silence(seconds=seconds)
    assert look().late == (seconds < -2 * TTL_SECONDS)


def test_looks__of_a_time_that_is_yet_to_come_begin_anew() -> None:
    begin("job-1")
    silence()
    Worker.objects.update(late_since=timezone.now() + timedelta(hours=1), late_at=timezone.now() + timedelta(hours=2))
    look()
    assert Worker.objects.get().late_since < timezone.now() + timedelta(minutes=1)


def test_worker__whose_row_is_lost_has_its_time_and_is_found() -> None:
    begin("job-1")
    assert look().late == 1
    assert Worker.objects.get().pk == DEAD
    assert mark_of("job-1") is None
    find()
    assert mark_of("job-1")["then"] == "fail"


def test_job__that_nobody_holds_is_never_stalled(make_job: MakeJob) -> None:
    make_job("job-1", status="in_progress")
    assert look() == (sweep.LOOK_SECONDS, 0, 0)


@pytest.mark.parametrize("end", ["mark_completed", "mark_failed", "mark_cancelled", "mark_queued"])
def test_end__and_a_new_attempt_are_held_by_nobody(end: str) -> None:
    getattr(begin("job-1"), end)()
    assert row("job-1")["worker_id"] is None


def test_worker__that_came_back_between_look_and_lock_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    begin("job-1")
    silence()
    find()
    before = stored("job-1")
    write = sweep._write

    def too_late(worker: Worker, *arguments: Any) -> int:
        Worker.objects.update(until=timezone.now() + timedelta(seconds=20), late_since=None, late_at=None)
        return write(worker, *arguments)

    monkeypatch.setattr(sweep, "_write", too_late)
    wait_out()
    assert (row("job-1")["status"], len(log("job-1"))) == ("in_progress", len(before[1]))


def test_many__a_hundred_at_a_look(settings: Any) -> None:
    settings.JOBS_KINDS = REQUEUE
    for number in range(120):
        begin(f"job-{number}", kind="thumbnails")
    silence()
    found = find()
    assert (found.seconds, found.written) == (0.0, sweep.MOST)
    found = look()
    assert (found.seconds, found.written) == (sweep.LATE_LOOK_SECONDS, 20)


def test_bad_rows__harm_their_own_job_only_and_are_not_tried_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    for job_id in "bad", "odd", "good":
        begin(job_id)
    silence()
    table = ProcessingJob._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET metadata = %s WHERE id = 'bad'", [f'{{"a": {"9" * 5000}}}'])
        cursor.execute(f"UPDATE {table} SET metadata = %s WHERE id = 'odd'", ['{"stalled": {"then": "fail", "at": 7}}'])
    logging.getLogger("jobs").addHandler(caplog.handler)
    try:
        find()
        look()
    finally:
        logging.getLogger("jobs").removeHandler(caplog.handler)
    assert mark_of("good")["then"] == "fail"
    assert {each.getMessage().split()[4] for each in caplog.records} == {"bad", "odd"}
    held = ProcessingJob.objects.filter(worker__isnull=False).values_list("pk", flat=True)
    assert list(held) == ["good"]


def test_look__without_a_database_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    begin("job-1")
    silence()

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "_write", away)
        with pytest.raises(OperationalError):
            find()
    find()
    assert mark_of("job-1") is not None


def test_deleted_job__is_not_looked_at() -> None:
    begin("job-1").delete()
    silence()
    assert look().late == 0


def test_forget__the_rows_of_workers_that_have_left_no_job() -> None:
    begin("job-1", "busy")
    for worker, seconds in ("busy", 10_000), ("gone", 10_000), ("lately", 60), ("alive", -10):
        silence(worker, seconds)
    sweep.forget()
    assert set(Worker.objects.values_list("pk", flat=True)) == {"busy", "lately", "alive"}

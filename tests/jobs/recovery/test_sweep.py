"""Jobs whose worker is lost: shown as stalled, and after a while recovered as their kind's options say."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from jobs.events import in_words
from jobs.leases import Worker
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.recovery import sweep
from jobs.recovery.sweep import look
from jobs.recovery.worker_lease import TTL_SECONDS
from jobs.signals import job_requeued
from jobs.states import EventKind
from tests.jobs.records import assert_whole, log, row, stored
from tests.jobs.recovery.lost import DEAD, MakeJob, begin, find, mark_of, silence, wait_out

pytestmark = pytest.mark.django_db(transaction=True)

REQUEUE = {"thumbnails": {"recovery": "requeue", "attempts": 3}}
LEAVE = {"*": {"recovery": "leave"}}


@pytest.fixture
def requeued() -> Any:
    """The jobs that somebody was told of who has queues."""
    found: list[tuple[str, int, str]] = []

    def receive(job: ProcessingJob, **_: Any) -> None:
        found.append((job.pk, job.attempt, job.kind))

    job_requeued.connect(receive)
    yield found
    job_requeued.disconnect(receive)


# Who is lost


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


# What is shown


def test_stalled__says_since_when_and_what_will_be_done(settings: Any, committed: list[Any]) -> None:
    settings.JOBS_KINDS = REQUEUE
    begin("job-1", kind="thumbnails").mark_progress(30, message="on its way")
    before = row("job-1")
    ProcessingJob.objects.update(started_at=timezone.now() - timedelta(hours=1))
    silence()
    assert find().written == 1
    after, worker = row("job-1"), Worker.objects.get()
    mark = mark_of("job-1")
    assert after["metadata"] == {**before["metadata"], "stalled": mark}
    assert {name: mark[name] for name in ("then", "attempt", "of")} == {"then": "requeue", "attempt": 2, "of": 3}
    assert mark["since"] == in_words(worker.until - timedelta(seconds=TTL_SECONDS))
    assert mark["at"] == in_words(worker.late_at + timedelta(seconds=sweep.GRACE_SECONDS))
    assert (after["status"], after["message"], after["progress"]) == ("in_progress", "on its way", 30)
    assert (committed[-1].kind, committed[-1].metadata) == (EventKind.STATUS, after["metadata"])
    assert after["status_changed_at"] == committed[-1].timestamp, "lists show it"
    assert_whole("job-1")


def test_stalled__since_no_earlier_than_the_start() -> None:
    begin("job-1")
    silence(seconds=3_600)
    find()
    assert mark_of("job-1")["since"] == in_words(row("job-1")["started_at"])


def test_stalled__since_no_later_than_now_though_the_clock_was_set_back() -> None:
    begin("job-1")
    silence(seconds=-3_600)
    find()
    assert mark_of("job-1")["since"] < in_words(timezone.now())


def test_stalled__is_said_once() -> None:
    begin("job-1")
    silence()
    find()
    before = stored("job-1")
    for _ in range(2):
        look()
    assert stored("job-1") == before


def test_stalled__goes_with_whatever_the_worker_writes_next() -> None:
    worker = begin("job-1")
    silence()
    find()
    worker.mark_progress(40, message="still there")
    assert mark_of("job-1") is None
    assert_whole("job-1")
    # A change of status, of which lists are told: they would show it as stalled until the next one.
    assert JobEvent.objects.order_by("seq").values_list("kind", flat=True).last() == EventKind.STATUS
    worker.mark_progress(50)
    assert JobEvent.objects.order_by("seq").values_list("kind", flat=True).last() == EventKind.TICK


def test_stalled__goes_with_the_end() -> None:
    worker = begin("job-1")
    silence()
    find()
    worker.mark_completed()
    assert row("job-1")["metadata"] == {"attempt": 1}


# What is done


def test_fail__by_default_with_the_reason() -> None:
    begin("job-1").mark_progress(30, message="on its way")
    silence()
    find()
    wait_out()
    after = row("job-1")
    assert (after["status"], after["worker_id"], after["attempt"]) == ("failed", None, 1)
    assert after["error"].startswith("Its worker was lost: no sign of life for ")
    assert after["message"] == after["error"]
    assert after["metadata"] == {"attempt": 1, "error": after["error"], "worker_lost": True}
    assert_whole("job-1")
    assert look() == (sweep.LOOK_SECONDS, 0, 0)


def test_requeue__as_a_new_attempt_of_which_those_are_told_who_have_queues(settings: Any, requeued: Any) -> None:
    settings.JOBS_KINDS = REQUEUE
    begin("job-1", kind="thumbnails")
    silence()
    find()
    assert requeued == []
    wait_out()
    after = row("job-1")
    assert (after["status"], after["attempt"], after["worker_id"]) == ("queued", 2, None)
    assert after["message"] == "Its worker was lost; attempt 2 of 3 waits"
    assert after["metadata"] == {"attempt": 2}
    assert requeued == [("job-1", 2, "thumbnails")]
    assert_whole("job-1")


def test_requeue__of_the_last_attempt_fails(settings: Any, requeued: Any) -> None:
    settings.JOBS_KINDS = {"*": {"recovery": "requeue", "attempts": 2}}
    worker = begin("job-1")
    worker.mark_queued()
    worker.mark_started(worker=DEAD)
    silence()
    find()
    assert {name: mark_of("job-1")[name] for name in ("then", "attempt", "of")} == {
        "then": "fail",
        "attempt": 2,
        "of": 2,
    }
    wait_out()
    assert (row("job-1")["status"], row("job-1")["attempt"]) == ("failed", 2)
    assert row("job-1")["error"].endswith(", in attempt 2 of 2")
    assert requeued == []


def test_requeue__of_a_job_that_somebody_has_retried_beyond_the_last_attempt(settings: Any) -> None:
    settings.JOBS_KINDS = {"*": {"recovery": "requeue", "attempts": 2}}
    worker = begin("job-1")
    for _ in range(2):
        worker.mark_failed()
        worker.retry()
        worker.mark_started(worker=DEAD)
    silence()
    find()
    wait_out()
    assert row("job-1")["error"].endswith(", in attempt 3 of 3"), "and not «3 of 2»"


def test_leave__is_shown_and_nothing_else_and_not_looked_at_for_ever(
    settings: Any, django_assert_num_queries: Any
) -> None:
    settings.JOBS_KINDS = LEAVE
    begin("job-1")
    silence()
    find()
    assert mark_of("job-1").keys() == {"since", "then"}
    before = stored("job-1")
    look()
    assert stored("job-1") == before
    with django_assert_num_queries(1):
        assert look().late == 0
    sweep.forget()
    assert Worker.objects.exists()


@pytest.mark.parametrize("when", ["before", "after"])
def test_cancellation__that_was_asked_for_is_what_is_done(settings: Any, requeued: Any, when: str) -> None:
    settings.JOBS_KINDS = REQUEUE
    begin("job-1", kind="thumbnails")
    silence()
    if when == "before":
        ProcessingJobLifecycle("job-1").request_cancel()
    find()
    assert mark_of("job-1")["then"] == ("cancel" if when == "before" else "requeue")
    if when == "after":
        ProcessingJobLifecycle("job-1").request_cancel()
        assert mark_of("job-1") is not None, "nobody has heard of the worker"
    wait_out()
    assert row("job-1")["status"] == "cancelled"
    assert "stalled" not in row("job-1")["metadata"]
    assert requeued == []


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


def test_parent__and_its_children_are_as_any(make_job: MakeJob) -> None:
    parent = make_job("parent", status="in_progress")
    begin("child", parent=parent)
    silence()
    find()
    assert row("parent")["progress"] == 0
    assert mark_of("parent") is None
    wait_out()
    assert row("parent")["progress"] == 100, "it has ended"


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


# Those who have queues


def test_told__again_while_it_fails(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.JOBS_KINDS = REQUEUE
    told: list[str] = []

    def receive(job: ProcessingJob, **_: Any) -> None:
        told.append(job.pk)
        if len(told) < 3:
            raise ConnectionError("the queue is away")

    job_requeued.connect(receive)
    try:
        begin("job-1", kind="thumbnails")
        silence()
        find()
        wait_out()
        look()
        assert told == ["job-1"], "not at once"
        monkeypatch.setattr(sweep, "TELL_AGAIN_SECONDS", 0)
        for _ in range(4):
            look()
    finally:
        job_requeued.disconnect(receive)
    assert told == ["job-1"] * 3
    assert row("job-1")["worker_id"] is None


def test_told__again_no_sooner_than_after_a_while(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each look would: of several receivers, one may fail for long, and another hand the job to a queue."""
    settings.JOBS_KINDS = REQUEUE
    told: list[str] = []

    def receive(job: ProcessingJob, **_: Any) -> None:
        told.append(job.pk)
        raise ConnectionError("the queue is away")

    job_requeued.connect(receive)
    try:
        begin("job-1", kind="thumbnails")
        silence()
        find()
        wait_out()
        earlier = timezone.now() - timedelta(seconds=sweep.TELL_AGAIN_SECONDS)
        ProcessingJob.objects.update(status_changed_at=earlier)
        monkeypatch.setattr(sweep, "_told_again_at", float("-inf"))
        for _ in range(4):
            look()
    finally:
        job_requeued.disconnect(receive)
    assert told == ["job-1"] * 2


def test_told__after_whoever_requeued_it_died(settings: Any, monkeypatch: pytest.MonkeyPatch, requeued: Any) -> None:
    settings.JOBS_KINDS = REQUEUE
    begin("job-1", kind="thumbnails")
    silence()
    find()
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "_tell", lambda _: None)
        wait_out()
    Worker.objects.all().delete()
    monkeypatch.setattr(sweep, "TELL_AGAIN_SECONDS", 0)
    look()
    look()
    assert requeued == [("job-1", 2, "thumbnails")]


def test_told__no_more_once_it_has_begun_or_ended(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.JOBS_KINDS = REQUEUE
    for job_id in "begun", "ended":
        begin(job_id, kind="thumbnails")
    silence()
    find()
    monkeypatch.setattr(sweep, "_tell", lambda _: None)
    wait_out()
    ProcessingJobLifecycle("begun").mark_started()
    ProcessingJobLifecycle("ended").request_cancel()
    assert not ProcessingJob.objects.filter(worker__isnull=False).exists()

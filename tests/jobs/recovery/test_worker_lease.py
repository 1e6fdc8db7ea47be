"""What a process promises while it runs jobs: one row, which one small write renews, by the thread of its reports."""

import os
import signal
import sqlite3
import threading
import time
from contextlib import ExitStack, closing
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.leases import Worker
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from jobs.recovery import sweep, worker_lease
from jobs.recovery.sweep import look
from jobs.recovery.worker_lease import RENEW_SECONDS, SWEEPERS, TTL_SECONDS, WorkerLease
from jobs.reporting import Reporter, report_thread
from jobs.reporting.report_thread import ReportThread
from jobs.signals import job_requeued
from tests.jobs.records import row
from tests.jobs.recovery.lost import begin, find, mark_of, silence
from tests.jobs.reporting.reported import WAIT_SECONDS, told

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lease() -> WorkerLease:
    return WorkerLease()


@pytest.fixture(autouse=True)
def _asks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_thread, "ASK_SECONDS", 0.01)


def again(lease: WorkerLease) -> None:
    """Have it be time for a renewal."""
    lease._renew_at = 0.0
    lease.renew_if_due()


def until(condition: Any) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


# The row


def test_renewal__is_one_small_write_once_in_eight_seconds(lease: WorkerLease) -> None:
    lease.renew_if_due()
    (worker,) = Worker.objects.all()
    assert worker.pk == lease.worker_id
    assert worker.name.endswith(f":{os.getpid()}")
    lease._renew_at -= RENEW_SECONDS
    with CaptureQueriesContext(connection) as captured:
        for _ in range(3):
            lease.renew_if_due()
    assert [query["sql"].split()[0] for query in captured] == ["UPDATE", "SELECT"]
    worker.refresh_from_db()
    left = (worker.until - timezone.now()).total_seconds()
    assert left == pytest.approx(TTL_SECONDS, abs=2)


def test_renewal__makes_a_row_again_that_is_lost(lease: WorkerLease) -> None:
    lease.renew_if_due()
    Worker.objects.all().delete()
    again(lease)
    assert Worker.objects.get().name


def test_renewal__of_a_row_that_a_look_has_made(lease: WorkerLease) -> None:
    begin("job-1", lease.worker_id)
    look()
    lease.renew_if_due()
    worker = Worker.objects.get()
    assert worker.late_since is None
    assert worker.name


def test_renewal__has_its_jobs_shown_as_stalled_no_more(lease: WorkerLease, settings: Any) -> None:
    settings.JOBS_KINDS = {"left": {"recovery": "leave"}}
    lease.renew_if_due()
    begin("job-1", lease.worker_id)
    begin("job-2", lease.worker_id, kind="left")
    begin("other", "other-worker")
    for worker in lease.worker_id, "other-worker":
        silence(worker)
        find(worker)
    again(lease)
    assert [mark_of(job_id) is None for job_id in ("job-1", "job-2", "other")] == [True, True, False]
    assert not Worker.objects.get(pk=lease.worker_id).is_settled


def test_renewal__that_failed_is_tried_again(lease: WorkerLease, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(lease, "_renew", away)
        with pytest.raises(OperationalError):
            lease.renew_if_due()
    lease.renew_if_due()
    assert Worker.objects.exists()


def test_release__leaves_nothing_and_only_what_there_was(lease: WorkerLease, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        lease.release(lambda: True)
    lease.renew_if_due()
    lease.release(lambda: False)
    assert Worker.objects.exists()
    lease.release(lambda: True)
    assert not Worker.objects.exists()
    lease.renew_if_due()
    assert Worker.objects.exists()


def test_sweepers__are_a_few_of_all_workers_that_live() -> None:
    leases = [WorkerLease() for _ in range(SWEEPERS + 4)]
    for _ in range(2):
        for each in leases:
            again(each)
    first = sorted(each.worker_id for each in leases)[:SWEEPERS]
    assert sorted(each.worker_id for each in leases if each.is_sweeper) == first
    silence(first[0])
    for each in leases:
        if each.worker_id != first[0]:
            again(each)
    assert sum(each.is_sweeper for each in leases if each.worker_id != first[0]) == SWEEPERS


# Runs


def test_run__holds_the_lease_of_its_process_until_its_end() -> None:
    with Reporter(ProcessingJobLifecycle.create("job-1")) as report:
        until(Worker.objects.exists)
        assert row("job-1")["worker_id"] == report._thread.lease.worker_id == Worker.objects.get().pk
    assert row("job-1")["worker_id"] is None


def test_run__that_fails_holds_it_no_more() -> None:
    with pytest.raises(ValueError, match="no"), Reporter(ProcessingJobLifecycle.create("job-1")):
        raise ValueError("no")
    assert (row("job-1")["status"], row("job-1")["worker_id"]) == ("failed", None)


def test_process__that_ends_well_leaves_no_row() -> None:
    with Reporter(ProcessingJobLifecycle.create("job-1")):
        until(Worker.objects.exists)
    ReportThread.finish_of_this_process()
    assert not Worker.objects.exists()


def test_process__that_has_no_more_runs_leaves_no_row_and_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_thread, "LINGER_SECONDS", 0.0)
    for number in range(2):
        with Reporter(ProcessingJobLifecycle.create(f"job-{number}")):
            until(Worker.objects.exists)
        until(lambda: not Worker.objects.exists())


def test_thread__renews_while_the_code_is_silent_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_lease, "RENEW_SECONDS", 0.01)
    with Reporter(ProcessingJobLifecycle.create("job-1")) as report:
        until(Worker.objects.exists)
        silence(report._thread.lease.worker_id)
        until(lambda: Worker.objects.get().until > timezone.now())
        assert look().late == 0


def test_thread__looks_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "LATE_SECONDS", 0.0)
    monkeypatch.setattr(sweep, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(sweep, "LATE_LOOK_SECONDS", 0.01)
    begin("lost")
    silence()
    with Reporter(ProcessingJobLifecycle.create("job-1")), told(job_id="lost", status="failed") as shown:
        assert shown.wait(WAIT_SECONDS)


def test_thread__renews_and_reports_while_those_who_are_told_of_a_job_take_long(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a queue that hangs would have the jobs of healthy workers taken for lost, one worker after the other."""
    settings.JOBS_KINDS = {"*": {"recovery": "requeue"}}
    monkeypatch.setattr(sweep, "LATE_SECONDS", 0.0)
    monkeypatch.setattr(sweep, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(sweep, "LATE_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(worker_lease, "RENEW_SECONDS", 0.01)
    is_told, goes_on = threading.Event(), threading.Event()

    def receive(**_: Any) -> None:
        is_told.set()
        goes_on.wait(WAIT_SECONDS)

    begin("lost")
    silence()
    job_requeued.connect(receive)
    try:
        with Reporter(ProcessingJobLifecycle.create("job-1")) as report, told(current=1) as shown:
            assert is_told.wait(WAIT_SECONDS)
            silence(report._thread.lease.worker_id)
            report.advance()
            assert shown.wait(WAIT_SECONDS / 2)
            until(lambda: Worker.objects.get(pk=report._thread.lease.worker_id).until > timezone.now())
            assert not goes_on.is_set()
            goes_on.set()
    finally:
        goes_on.set()
        job_requeued.disconnect(receive)


def test_thread__that_can_not_be_started_leaves_the_job_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who would renew the lease?"""

    def refuses(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    ReportThread.finish_of_this_process()
    monkeypatch.setattr(threading.Thread, "start", refuses)
    with Reporter(ProcessingJobLifecycle.create("job-1")):
        assert row("job-1")["worker_id"] is None


def test_run__that_its_own_code_writes_holds_no_lease() -> None:
    with transaction.atomic(), Reporter(ProcessingJobLifecycle.create("job-1")) as report:
        assert not report._run.is_beside
        assert row("job-1")["worker_id"] is None
    assert row("job-1")["status"] == "completed"


@pytest.mark.postgres
def test_run__within_a_transaction_holds_it_beside_that() -> None:
    job = ProcessingJobLifecycle.create("job-1")
    with transaction.atomic(), Reporter(job) as report, told(current=1) as shown:
        report.advance()
        assert shown.wait(WAIT_SECONDS)
        assert row("job-1")["worker_id"] == report._thread.lease.worker_id


@pytest.mark.postgres
def test_report__of_a_run_with_a_lease_makes_no_new_index_entries() -> None:
    """As of any: PostgreSQL calls such an update of a row HOT."""
    job = begin("job-1")
    with transaction.atomic(), connection.cursor() as cursor:

        def updates() -> tuple[int, int]:
            """Return how many there were since a while ago, and how many of them were such."""
            query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = %s"
            cursor.execute(query, [ProcessingJob._meta.db_table])
            all_of_them, hot = cursor.fetchone()
            return all_of_them, hot

        before = updates()
        for number in range(5):
            job.mark_progress(current=number, total=9)
        assert [after - earlier for after, earlier in zip(updates(), before, strict=True)] == [5, 5]


@pytest.mark.sqlite
def test_transaction__of_the_code_s_own_holds_up_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can't renew the lease meanwhile, but waits no longer than a moment for the lock, and tries again."""
    # A connection that is made meanwhile would wait as well, where the site's file was new when this process began.
    monkeypatch.setattr(report_thread, "is_in_tests", lambda: False)
    monkeypatch.setattr(worker_lease, "RENEW_SECONDS", 0.0)
    with Reporter(ProcessingJobLifecycle.create("job-1")) as report:
        until(Worker.objects.exists)
        silence(report._thread.lease.worker_id)
        with transaction.atomic():
            began = time.monotonic()
            for _ in range(3):
                report._thread.call(int).result(WAIT_SECONDS)
            assert time.monotonic() - began < 3
        until(lambda: Worker.objects.get().until > timezone.now())


@pytest.mark.sqlite
def test_lock__of_another_process_calls_nobody_lost() -> None:
    """What nobody could write, the worker could not either: after it, it has its time."""
    begin("job-1")
    silence()
    look()
    Worker.objects.update(late_at=timezone.now() - timedelta(seconds=sweep.GAP_SECONDS + 1))
    connection.ensure_connection()
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        connection.connection.execute("PRAGMA busy_timeout = 10")
        with pytest.raises(OperationalError, match="locked"):
            look()
        other.execute("COMMIT")
    look()
    worker = Worker.objects.get()
    assert worker.late_since == worker.late_at
    assert mark_of("job-1") is None
    connection.close()


def test_fork__the_child_has_a_lease_of_its_own(tmp_path: Any) -> None:
    with Reporter(ProcessingJobLifecycle.create("job-1")) as report:
        until(Worker.objects.exists)
        of_parent = report._thread.lease.worker_id
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(int(WAIT_SECONDS))
            (tmp_path / "child").write_text(ReportThread.of_this_process().lease.worker_id)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (tmp_path / "child").read_text() not in ("", of_parent)
        assert Worker.objects.get().pk == of_parent


@pytest.mark.timeout(120)
@pytest.mark.parametrize("jobs", [50, pytest.param(1_000, marks=pytest.mark.slow)])
def test_many_jobs__of_one_worker_are_renewed_by_one_write(jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_thread, "report_seconds", lambda: 3600.0)
    monkeypatch.setattr(report_thread, "ASK_SECONDS", 3600.0)
    with ExitStack() as stack:
        for number in range(jobs):
            stack.enter_context(Reporter(ProcessingJobLifecycle.create(f"job-{number}")))
        thread = ReportThread.of_this_process()
        until(Worker.objects.exists)
        assert ProcessingJob.objects.filter(worker=thread.lease.worker_id).count() == jobs

        def renewed() -> list[str]:
            again(thread.lease)
            with CaptureQueriesContext(connections["default"]) as captured:
                again(thread.lease)
            return [query["sql"].split()[0] for query in captured]

        assert thread.call(renewed).result(WAIT_SECONDS) == ["UPDATE", "SELECT"]
        assert look().late == 0

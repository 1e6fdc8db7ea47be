"""The loop: what a pass does, what it survives, when it ends."""

import logging
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import OperationalError, connection
from django.test import override_settings
from django.utils import timezone

from jobs.leases import Lease
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.retention import housekeeping, pace
from jobs.retention.housekeeping import Housekeeper
from jobs.signals import job_event_committed
from tests.jobs.retention.conftest import age

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(pace, "REST", 0)


def test_pass__deletes_what_is_left_and_prunes(
    large: ProcessingJobLifecycle, make_job: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jobs.retention.housekeeping")
    settings.JOBS_KEEP_DAYS = 30
    make_job("old", status="completed")
    age(31, "old")
    large.delete()
    assert Housekeeper().tidy()
    assert not ProcessingJob.stored.exists()
    assert not JobEvent.objects.exists()
    assert caplog.messages == ["Pruned 1 ended jobs"]


def test_pass__by_default_prunes_nothing(make_job: Any) -> None:
    make_job("old", status="completed")
    age(10_000, "old")
    assert Housekeeper().tidy()
    assert ProcessingJob.objects.exists()


def test_pass__has_others_forget_what_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[int] = []
    monkeypatch.setattr(housekeeping, "_expiries", {})
    housekeeping.on_each_pass(lambda: forgotten.append(1))
    Housekeeper().tidy()
    assert forgotten == [1]


def test_pass__is_one_process_s(large: ProcessingJobLifecycle) -> None:
    first, second = Housekeeper(), Housekeeper()
    large.delete()
    first._lease.take()
    assert not second.tidy()
    assert ProcessingJob.stored.exists()
    first.finish()
    assert second.tidy()


def test_pass__ends_once_another_holds_the_lease(
    large: ProcessingJobLifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    large.delete()
    housekeeper = Housekeeper()
    monkeypatch.setattr(housekeeper._lease, "keep", lambda: False)
    housekeeper.tidy()
    assert JobEvent.objects.exists()


def test_pass__a_task_that_fails_harms_no_other_and_is_logged_once(
    large: ProcessingJobLifecycle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    is_away = True

    def task() -> Iterator[object]:
        if is_away:
            raise OperationalError("the database is away")
        yield 1

    monkeypatch.setattr(housekeeping, "TASKS", (task, housekeeping.finish_deletions))
    logging.getLogger("jobs").addHandler(caplog.handler)
    try:
        large.delete()
        housekeeper = Housekeeper()
        for _ in range(3):
            housekeeper.tidy()
        assert not ProcessingJob.stored.exists()
        assert [record.message for record in caplog.records if "away" in record.message] == [caplog.records[0].message]
        is_away = False
        housekeeper.tidy()
        is_away = True
        housekeeper.tidy()
        assert len(caplog.records) == 2
    finally:
        logging.getLogger("jobs").removeHandler(caplog.handler)


@pytest.fixture
def unanswered(make_job: Any) -> str:
    """A running job that was asked to end long ago."""
    make_job("unanswered", status="in_progress").request_cancel()
    ProcessingJob.objects.update(cancel_requested_at=timezone.now() - timedelta(days=1))
    return "unanswered"


def is_recorded(job_id: str) -> bool:
    return ProcessingJob.objects.get(pk=job_id).cancel_unanswered_at is not None


def test_pass__records_what_no_worker_has_answered_whoever_holds_the_lease(unanswered: str) -> None:
    other = Housekeeper()
    other._lease.take()
    assert not Housekeeper().tidy()
    assert is_recorded(unanswered)


def test_pass__that_takes_long_looks_for_it_meanwhile(make_job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    housekeeper, batches = Housekeeper(), []

    def task() -> Iterator[object]:
        job = make_job("job-1", status="in_progress")
        job.request_cancel()
        ProcessingJob.objects.update(cancel_requested_at=timezone.now() - timedelta(days=1))
        housekeeper._look_at["unanswered cancellations"] = 0
        for _ in range(2):
            batches.append(is_recorded("job-1"))
            yield 1

    monkeypatch.setattr(housekeeping, "TASKS", (task,))
    assert housekeeper.tidy()
    assert batches == [False, True]


@pytest.mark.timeout(20)
def test_run__looks_in_time_however_rare_the_passes_are(
    make_job: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.JOBS_HOUSEKEEPING_SECONDS = 86_400
    settings.JOBS_CANCEL_SECONDS = 1
    monkeypatch.setattr(housekeeping, "MIN_LOOK_SECONDS", 0)
    told = threading.Event()

    def receive(event: Any, **_: Any) -> None:
        if "cancel_unanswered" in event.metadata:
            told.set()

    make_job("job-1", status="in_progress").request_cancel()
    asked_at = time.monotonic()
    job_event_committed.connect(receive)
    housekeeper = Housekeeper()
    housekeeper.start()
    try:
        assert told.wait(10)
        assert 0.9 < time.monotonic() - asked_at < 4
    finally:
        housekeeper.stop()
        housekeeper.join()
        job_event_committed.disconnect(receive)


def test_run__of_an_idle_site_asks_for_each_thing_no_more_often_than_it_has_to(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """For cancellations, once in the time that a worker has; for lost workers, every three seconds."""
    settings.JOBS_HOUSEKEEPING_SECONDS = 86_400
    now: list[float] = [0.0]
    asked: dict[str, list[float]] = {"cancellations": [], "workers": []}
    monkeypatch.setattr(housekeeping, "time", SimpleNamespace(monotonic=lambda: now[0]))
    record, look = housekeeping.record_unanswered, housekeeping.sweep.look
    monkeypatch.setattr(
        housekeeping, "record_unanswered", lambda pause: asked["cancellations"].append(now[0]) or record(pause)
    )
    monkeypatch.setattr(housekeeping.sweep, "look", lambda: asked["workers"].append(now[0]) or look())
    housekeeper = Housekeeper()

    def wait(seconds: float) -> bool:
        now[0] += seconds
        return now[0] > 70

    monkeypatch.setattr(housekeeper._stopping, "wait", wait)
    housekeeper.run()
    assert [round(at) for at in asked["cancellations"]] == [3, 63]
    assert [round(at) for at in asked["workers"]] == list(range(3, 70, 3))


def test_run__looks_through_one_connection(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.JOBS_HOUSEKEEPING_SECONDS = 86_400
    housekeeper, seen = Housekeeper(), list[Any]()

    def wait(_: float) -> bool:
        seen.append(connection.connection)
        housekeeper._look_at["lost workers"] = 0
        return len(seen) == 4

    monkeypatch.setattr(housekeeper._stopping, "wait", wait)
    monkeypatch.setattr(housekeeper, "finish", lambda: None)
    housekeeper.run()
    assert seen[1] is seen[2] is seen[3] is not None


def test_stop__ends_after_the_batch_and_gives_the_lease_back(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.JOBS_HOUSEKEEPING_SECONDS = 0.1
    working, batches = threading.Event(), []

    def task() -> Iterator[object]:
        while True:
            batches.append(1)
            working.set()
            yield 1

    monkeypatch.setattr(pace, "PAUSE_SECONDS", 60)
    monkeypatch.setattr(pace, "MAX_PAUSE_SECONDS", 60)
    monkeypatch.setattr(housekeeping, "TASKS", (task,))
    housekeeper = Housekeeper()
    housekeeper.start()
    assert working.wait(10)
    housekeeper.stop()
    housekeeper.join()
    assert not housekeeper._thread.is_alive()
    assert batches == [1]
    assert not Lease.objects.exists()


def test_stop__of_one_that_never_began() -> None:
    housekeeper = Housekeeper()
    housekeeper.stop()
    housekeeper.join()


@pytest.mark.parametrize("value", [0, -1, True, "10", None, 1e9])
def test_check__says_what_is_wrong(value: Any) -> None:
    with override_settings(JOBS_HOUSEKEEPING_SECONDS=value):
        (problem,) = [each for each in run_checks() if each.id == "jobs.E023"]
    assert "JOBS_HOUSEKEEPING_SECONDS" in problem.msg
    assert "jobs.E023" not in [each.id for each in run_checks()]


def test_paced__pauses_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    now, pauses = [0.0, 0.0], []
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: now[0], thread_time=lambda: now[1]))

    def work() -> Iterator[int]:
        for seconds, of_processor in ((0.001, 0.001), (0.05, 0.01), (0.3, 0.01), (3.0, 0.0)):
            now[0] += seconds
            now[1] += of_processor
            yield 1

    assert list(pace.paced(work(), pauses.append)) == [1] * 4
    assert pauses == pytest.approx([0.02, 0.11, 0.3, 1.0])


def test_pass__a_deletion_that_can_t_be_finished_harms_no_other(
    large: ProcessingJobLifecycle, make_job: Any, protected: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A row of the host's that refers to the job may have been written after the job was marked."""
    make_job(protected)
    ProcessingJob.objects.filter(pk=protected).update(deleted_at=timezone.now())
    large.delete()
    logging.getLogger("jobs").addHandler(caplog.handler)
    try:
        housekeeper = Housekeeper()
        for _ in range(2):
            housekeeper.tidy()
    finally:
        logging.getLogger("jobs").removeHandler(caplog.handler)
    assert ProcessingJob.stored.get().pk == protected
    (record,) = caplog.records
    assert protected in record.message


def test_pass__what_fails_to_forget_harms_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[int] = []

    def fail() -> None:
        raise ValueError

    monkeypatch.setattr(housekeeping, "_expiries", {})
    housekeeping.on_each_pass(fail)
    housekeeping.on_each_pass(lambda: forgotten.append(1))
    Housekeeper().tidy()
    assert forgotten == [1]

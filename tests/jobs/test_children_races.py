"""Children that end at once, while their parent is held, or while the database is away."""

import threading
from typing import Any

import pytest
from django.db import connection, connections, transaction

from jobs import children, locked, looks
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.reporting import Reporter
from jobs.reporting.report_thread import ReportThread
from tests.jobs.records import assert_whole, row
from tests.jobs.related import Make, settled
from tests.jobs.reporting.reported import WAIT_SECONDS, told
from tests.jobs.test_races import race

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.usefixtures("parent", "_unmarked")
def test_race__of_the_last_ends_the_bar_is_never_left_short(make_job: Make) -> None:
    for _ in range(5):
        made = [make_job(parent="parent", status="in_progress") for _ in range(4)]
        assert race(*(child.mark_completed for child in made)) == [None] * 4
        assert row("parent")["progress"] == 100
    assert_whole("parent")


@pytest.mark.postgres
@pytest.mark.usefixtures("parent", "_unmarked")
def test_race__who_has_read_before_the_last_end_does_not_write_after_it(
    make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One connection has read that one of two children has ended, and writes that while the other ends in a second."""
    one, two = (make_job(parent="parent", status="in_progress") for _ in range(2))
    with monkeypatch.context() as patched:
        patched.setattr(children, "moved", lambda *_, **__: None)
        one.mark_completed()
    has_read, has_ended, shares = threading.Event(), threading.Event(), children.shares

    def slow(*arguments: Any) -> Any:
        found = shares(*arguments)
        if threading.current_thread() is reader:
            has_read.set()
            with connection.cursor() as cursor:
                while not has_ended.is_set():
                    cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
                    if cursor.fetchone():
                        break
        return found

    def read() -> None:
        try:
            children.roll_up(["parent"], waits=True)
        finally:
            connections.close_all()

    monkeypatch.setattr(children, "shares", slow)
    reader = threading.Thread(target=read)
    reader.start()
    assert has_read.wait(10)
    two.mark_completed()
    has_ended.set()
    reader.join()
    shown = JobEvent.objects.filter(job_id="parent", kind="tick").order_by("seq").values_list("progress", flat=True)
    assert list(shown)[-2:] == [50, 100]
    assert row("parent")["progress"] == 100


@pytest.mark.postgres
@pytest.mark.usefixtures("parent")
def test_race__a_parent_that_is_held_keeps_no_child_from_ending_and_is_told_later(
    make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locked, "LOCK_MILLISECONDS", 20)
    child = make_job(parent="parent", status="in_progress")
    children.soon.finish()
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            ProcessingJob.objects.select_for_update().get(pk="parent")
            is_held.set()
            is_over.wait(10)
        connections.close_all()

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_held.wait(10)
    child.mark_completed()
    assert row(child.job_id)["status"] == "completed"
    assert row("parent")["progress"] == 0
    is_over.set()
    holder.join()
    assert settled() == 100


def test_look__fails_while_the_database_is_away_and_is_repeated(
    make_job: Make, parent: ProcessingJobLifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "LOOK_SECONDS", 0.01)
    child = make_job(parent=parent, status="in_progress")
    roll_up, failures = children.roll_up, iter([KeyError("first"), KeyError("second")])

    def failing(*arguments: Any, **options: Any) -> list[str]:
        for error in failures:
            raise error
        return roll_up(*arguments, **options)

    monkeypatch.setattr(children, "roll_up", failing)
    with told(job_id="parent", progress=30) as shown:
        child.mark_progress(30)
        assert shown.wait(WAIT_SECONDS)
    assert_whole("parent")


def test_reporter__of_the_parent_looks_for_what_nobody_told(make_job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wrote the child died before it could tell."""
    make_job("parent")
    with Reporter("parent") as report:
        one, _ = report.child(), report.child()
        children.soon.finish()
        assert row("parent")["metadata"]["child_jobs"] == 2
        with monkeypatch.context() as patched:
            patched.setattr(children, "moved", lambda *_, **__: None)
            one.mark_started()
            one.mark_completed()
        with told(job_id="parent", progress=50) as shown:
            monkeypatch.setattr(ReportThread.of_this_process(), "_parents_at", 0.0)  # it is time
            assert shown.wait(WAIT_SECONDS)

"""The table of what runs took: it is bounded, and whatever is wrong with it fails no job."""

import datetime
import logging
from typing import Any
from unittest import mock

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import KindRun, ProcessingJob
from jobs.time_left import store
from jobs.time_left.record import Run, Segment
from tests.jobs.records import assert_whole, row
from tests.jobs.time_left.runs import KIND, begin, count, kept, run
from tests.jobs.time_left.test_record import BAD

pytestmark = pytest.mark.django_db(transaction=True)


def keep(run: Run, kind: str = KIND) -> None:
    with transaction.atomic():
        store.keep(connection, kind, run, timezone.now())


def a_run(seconds: float, *, stages: int = 1) -> Run:
    return Run(seconds, tuple(Segment(f"stage {number:02}", False, seconds / stages) for number in range(stages)))


class failing:  # noqa: N801  (a context manager, used as a function)
    """Has the database refuse each statement that has a word in it."""

    def __init__(self, word: str) -> None:
        self.word, self.met = word, 0
        self._wrapper = connection.execute_wrapper(self._refuse)

    def _refuse(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if self.word in sql:
            self.met += 1
            execute("SELECT * FROM no_such_table", None, False, context)  # it breaks a transaction of PostgreSQL's
        return execute(sql, params, many, context)

    def __enter__(self) -> "failing":
        self._wrapper.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._wrapper.__exit__(*error)
        assert self.met, "nothing was refused"


def test_keep__the_newest_twenty_of_a_kind() -> None:
    for number in range(25):
        keep(a_run(10.0 + number))
    keep(a_run(5.0), "other")
    assert [each.seconds for each in kept()] == [15.0 + number for number in range(20)]
    assert len(kept("other")) == 1


def test_keep__at_most_12_kib_of_a_kind() -> None:
    for number in range(20):
        keep(a_run(10.0 + number, stages=80))
    size = sum(len(each.course) for each in kept())
    assert 9_000 < size <= store.MAX_BYTES
    assert kept()[-1].seconds == 29.0


def test_keep__of_too_many_stages_is_left_out() -> None:
    keep(a_run(10.0, stages=200))
    assert not kept()


def test_history__is_what_was_kept_the_newest_first() -> None:
    for number in range(3):
        keep(a_run(10.0 + number, stages=2))
    history = store.history_of(KIND)
    assert history is not None
    assert [each.seconds for each in history.runs] == [12.0, 11.0, 10.0]
    assert history.runs[2] == a_run(10.0, stages=2)


def test_history__of_no_kind_is_not_asked_for() -> None:
    assert store.history_of("") is None


def test_nonsense__in_the_table_is_left_out(clock: mock.Mock, caplog: pytest.LogCaptureFixture) -> None:
    run(clock, 100)
    good = kept()[0]
    for text in [*BAD, "[" * 100_000]:
        KindRun.objects.create(kind=KIND, finished_at=timezone.now(), seconds=1.0, course=text)
    numbers = {"seconds": -1.0}, {"seconds": 1e12}, {"size": -5.0}
    for each in numbers:
        KindRun.objects.create(
            **{"kind": KIND, "finished_at": timezone.now(), "seconds": 1.0, "course": good.course, **each}
        )
    with caplog.at_level(logging.WARNING, "jobs.time_left.store"):
        lifecycle = run(clock, 100)
    assert row(lifecycle.job_id)["status"] == "completed"
    assert_whole(lifecycle.job_id)
    assert "can't be read" in caplog.text


def test_nonsense__that_can_be_read_fails_no_report(clock: mock.Mock) -> None:
    courses = (
        '{"segments": [["", 0], ["", 0, 0]]}',
        '{"segments": [["", 8640000], ["", 8640000, 1e-300]]}',
        '{"segments": [["", 1], ["", 1, 1e18]], "plan": ["a", "b"]}',
    )
    for number, text in enumerate(courses * 3):
        KindRun.objects.create(kind=KIND, finished_at=timezone.now(), seconds=number, size=number, course=text)
    for size in (0, 1e-300, 1e18):
        lifecycle = run(clock, 100, size=size, plan=["a"])
        assert_whole(lifecycle.job_id)


def test_start__though_the_history_can_not_be_read(clock: mock.Mock, caplog: pytest.LogCaptureFixture) -> None:
    run(clock, 100)
    with caplog.at_level(logging.WARNING, "jobs.time_left.store"), failing(f'FROM "{KindRun._meta.db_table}"'):
        lifecycle = begin()
    assert row(lifecycle.job_id)["status"] == "in_progress"
    assert row(lifecycle.job_id)["usual"] is None
    assert "can't be read" in caplog.text


def test_start__within_the_callers_transaction_leaves_that_whole(clock: mock.Mock) -> None:
    with transaction.atomic(), failing(f'FROM "{KindRun._meta.db_table}"'):
        lifecycle = begin()
    assert row(lifecycle.job_id)["status"] == "in_progress"


@pytest.mark.parametrize("is_within", [False, True], ids=["alone", "within a transaction"])
def test_complete__though_nothing_can_be_kept(
    clock: mock.Mock, caplog: pytest.LogCaptureFixture, is_within: bool
) -> None:
    lifecycle = begin()
    count(lifecycle, clock, 100)
    refusing = failing(f'INTO "{KindRun._meta.db_table}"')
    with caplog.at_level(logging.WARNING, "jobs.time_left.store"), refusing:
        if is_within:
            with transaction.atomic():
                lifecycle.mark_completed()
        else:
            lifecycle.mark_completed()
    assert row(lifecycle.job_id)["status"] == "completed"
    assert_whole(lifecycle.job_id)
    assert not kept()
    assert "is not remembered" in caplog.text


def test_keep__though_the_clock_was_ahead_once() -> None:
    ahead = timezone.now() + datetime.timedelta(days=365)
    for number in range(20):
        KindRun.objects.create(kind=KIND, finished_at=ahead, seconds=100.0 + number, course=a_run(100).text())
    keep(a_run(5.0))
    assert [each.seconds for each in kept()] == [*(101.0 + number for number in range(19)), 5.0]
    history = store.history_of(KIND)
    assert history is not None
    assert history.runs[0].seconds == 5.0


@pytest.mark.sqlite  # PostgreSQL takes no such text
def test_complete__though_what_was_stored_by_others_has_no_words(clock: mock.Mock) -> None:
    lifecycle = ProcessingJobLifecycle.create(kind=KIND)
    ProcessingJob.objects.filter(pk=lifecycle.job_id).update(plan=[["\ud800", 1]])
    lifecycle = ProcessingJobLifecycle(lifecycle.job_id)
    lifecycle.mark_started()
    count(lifecycle, clock, 100)
    lifecycle.mark_completed()
    assert row(lifecycle.job_id)["status"] == "completed"
    assert not kept()


@pytest.mark.parametrize("plan", [[7], [[]], {"a": 1}, "ab"])
def test_start__though_the_plan_that_was_stored_is_none(clock: mock.Mock, plan: Any) -> None:
    run(clock, 100)
    lifecycle = ProcessingJobLifecycle.create(kind=KIND)
    ProcessingJob.objects.filter(pk=lifecycle.job_id).update(plan=plan)
    lifecycle = ProcessingJobLifecycle(lifecycle.job_id)
    lifecycle.mark_started()
    assert row(lifecycle.job_id)["status"] == "in_progress"


def test_keep__where_the_transaction_is_lost_with_it_the_caller_is_told(clock: mock.Mock) -> None:
    lifecycle = begin()
    count(lifecycle, clock, 100)
    gone = DatabaseError("gone")
    with (
        mock.patch.object(store, "_forget_oldest", side_effect=gone),
        mock.patch.object(connection, "savepoint_rollback", side_effect=gone),
        pytest.raises(DatabaseError, match="gone"),
    ):
        lifecycle.mark_completed()
    assert row(lifecycle.job_id)["status"] == "in_progress"
    assert not kept()


def test_forget__what_no_job_has_been_for_long() -> None:
    now = timezone.now()
    for days in (1, 399, 401):
        KindRun.objects.create(kind=KIND, finished_at=now - datetime.timedelta(days=days), seconds=days, course="{}")
    store.forget_expired()
    assert [each.seconds for each in kept()] == [1.0, 399.0]


def test_forget__the_oldest_of_too_many_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_ROWS", 3)
    for number in range(5):
        keep(a_run(10.0 + number), f"import of job-{number}")
    store.forget_expired()
    assert [each.seconds for each in KindRun.objects.order_by("pk")] == [12.0, 13.0, 14.0]
    store.forget_expired()
    assert KindRun.objects.count() == 3

"""A COMMIT whose answer is lost: what was sent is looked for before anything is written again."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connections

from jobs import database, decisions
from jobs.exceptions import StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.writes import is_logged
from tests.jobs.cuts import CHANGES, cut, in_thread
from tests.jobs.records import assert_whole, log, row

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_age")]


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """``with away("after"):`` cuts at the next INSERT, and lets nobody connect within the block any more."""
    here, is_away = connections["default"], False
    connect, is_lost = type(here).get_new_connection, database.is_lost

    def refuse(self: Any, params: Any) -> Any:
        if is_away:
            raise OperationalError("connection refused")
        return connect(self, params)

    @contextlib.contextmanager
    def go_away(moment: str) -> Iterator[None]:
        nonlocal is_away

        def then_away(*arguments: Any) -> bool:
            nonlocal is_away
            was_lost = is_lost(*arguments)
            is_away = bool(met)
            return was_lost

        with cut(moment, word="INSERT") as met:
            monkeypatch.setattr(database, "is_lost", then_away)
            with pytest.raises(OperationalError, match="refused"):
                yield
        monkeypatch.setattr(database, "is_lost", is_lost)
        is_away = False

    monkeypatch.setattr(type(here), "get_new_connection", refuse)
    return go_away


@pytest.mark.parametrize("moment", ["before", "after"])
def test_unclear__and_the_database_stays_away__the_callers_own_repetition_is_no_second_one(
    make_job: Any, committed: list[Any], away: Any, moment: str
) -> None:
    lifecycle = make_job(status="in_progress")
    with away(moment):
        lifecycle.mark_completed("done")
    assert row(lifecycle.job_id)["status"] == ("completed" if moment == "after" else "in_progress")
    lifecycle.mark_completed("done")
    assert_whole(lifecycle.job_id)
    assert [event.seq for event in committed] == [1, 2, 3]


def test_unclear__a_report_that_is_made_again_later_is_no_second_one(
    make_job: Any, committed: list[Any], away: Any
) -> None:
    lifecycle = make_job(status="in_progress")
    with away("after"):
        lifecycle.mark_progress(current=5, total=10)
    lifecycle.mark_progress(current=5, total=10)
    assert [event.seq for event in committed] == [1, 2, 3]
    assert_whole(lifecycle.job_id)


def test_unclear__what_another_thread_adds_meanwhile_is_asked_for_as_well(
    make_job: Any, away: Any, monkeypatch: Any
) -> None:
    """Its COMMIT was done, and it hears that it is lost while this thread has asked for what it knew of."""
    lifecycle = make_job(status="in_progress")
    with away("after"):
        lifecycle.log("first")
    thread = ProcessingJobLifecycle(lifecycle.job_id)
    assert thread.job.seq == 3
    with away("after"):
        thread.log("second")

    def asks(*arguments: Any) -> bool:
        lifecycle._unclear += thread._unclear
        thread._unclear.clear()
        return is_logged(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(decisions, "is_logged", asks)
        lifecycle.log("third")
    lifecycle.log("second")
    assert [event["message"] for event in log(lifecycle.job_id)][2:] == ["first", "second", "third"]
    assert_whole(lifecycle.job_id)


def test_unclear__what_is_done_next_is_done_as_well(make_job: Any, committed: list[Any], away: Any) -> None:
    lifecycle = make_job(status="in_progress")
    with away("after"):
        lifecycle.mark_progress(10)
    lifecycle.mark_progress(20)
    lifecycle.mark_progress(20)
    assert [event.progress for event in committed] == [0.0, 0.0, 10.0, 20.0, 20.0]
    assert_whole(lifecycle.job_id)


@pytest.mark.parametrize("name", ["log", "mark_progress"])
def test_unclear__a_late_repetition_is_still_of_its_attempt(make_job: Any, away: Any, name: str) -> None:
    _, change = CHANGES[name]
    lifecycle = make_job(status="in_progress")
    with away("after"):
        change(lifecycle)
    rightful = ProcessingJobLifecycle(lifecycle.job_id)
    rightful.mark_queued()
    rightful.mark_started()
    for again in (change, CHANGES["log"][1], CHANGES["mark_completed"][1]):
        with pytest.raises(StaleAttempt):
            again(lifecycle)
    assert row(lifecycle.job_id)["status"] == "in_progress"
    assert_whole(lifecycle.job_id)


def test_unclear__a_new_attempt_is_the_callers_own(make_job: Any, away: Any) -> None:
    lifecycle = make_job(status="in_progress")
    with away("after"):
        lifecycle.mark_queued()
    lifecycle.mark_queued()
    lifecycle.mark_started()
    assert row(lifecycle.job_id)["attempt"] == 2
    assert_whole(lifecycle.job_id)


def test_unclear__but_another_was_faster(make_job: Any) -> None:
    """What was lost before it was done is done after what the other did."""
    lifecycle = make_job(status="in_progress")
    with cut("before", word="INSERT"):
        lifecycle.log("mine")
    other = ProcessingJobLifecycle(lifecycle.job_id)
    with cut("before", word="INSERT") as met:
        real = database.is_lost

        def overtaken(*arguments: Any) -> bool:
            was_lost = real(*arguments)
            if met and not other._known:
                in_thread(lambda: other.log("mine"))
            return was_lost

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "is_lost", overtaken)
            lifecycle.log("mine")
    assert [event["message"] for event in log(lifecycle.job_id)][2:] == ["mine", "mine", "mine"]
    assert_whole(lifecycle.job_id)

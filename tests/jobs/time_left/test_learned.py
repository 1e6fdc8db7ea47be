"""What a job of a kind says of its time, by what earlier ones took."""

from typing import Any
from unittest import mock

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs.events import in_words
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, KindRun
from jobs.time_left import learned
from tests.jobs.records import row
from tests.jobs.time_left.runs import KIND, begin, count, kept, run
from tests.jobs.time_left.seen import time_left

pytestmark = pytest.mark.django_db(transaction=True)


def test_first_run__says_what_the_rate_says(clock: mock.Mock) -> None:
    lifecycle = begin()
    assert (time_left(lifecycle), row(lifecycle.job_id)["usual"]) == ((None, None), None)
    count(lifecycle, clock, 100, upto=5)
    assert time_left(lifecycle) == (50.0, None)


def test_start__tells_before_any_report_how_long_it_takes(clock: mock.Mock) -> None:
    for seconds in (90, 95, 100, 105, 110):
        run(clock, seconds)
    lifecycle = begin()
    eta, learned = time_left(lifecycle)
    assert eta == pytest.approx(100, abs=3)
    assert learned["low"] < eta < learned["high"]
    usual = row(lifecycle.job_id)["usual"]
    assert usual["runs"] == 5
    assert usual["seconds"] == pytest.approx([90, 100, 110], abs=5)
    assert usual["curve"] == sorted(usual["curve"])
    assert "scaled" not in usual


def test_start__with_fewer_than_five_runs_knows_no_range(clock: mock.Mock) -> None:
    run(clock, 100)
    lifecycle = begin()
    eta, learned = time_left(lifecycle)
    assert eta == pytest.approx(100, abs=1)
    assert not {"low", "high"} & learned.keys()
    assert all(then[2:] == [None, None] for then in learned["later"])
    assert row(lifecycle.job_id)["usual"]["seconds"] == [100]


def test_start__by_its_size(clock: mock.Mock) -> None:
    for size in (10, 20, 40, 80, 160):
        run(clock, size, size=size)
    lifecycle = begin(size=320)
    assert time_left(lifecycle)[0] == pytest.approx(320, rel=0.1)
    assert row(lifecycle.job_id)["usual"]["scaled"] is True


def test_start__of_a_new_attempt_tells_anew(clock: mock.Mock) -> None:
    run(clock, 100)
    lifecycle = begin()
    lifecycle.mark_failed()
    lifecycle.retry()
    assert row(lifecycle.job_id)["usual"] is None
    assert time_left(lifecycle) == (None, None)
    lifecycle.mark_started()
    assert row(lifecycle.job_id)["usual"]["seconds"] == [100]


def test_start__in_another_process_by_id_alone(clock: mock.Mock) -> None:
    run(clock, 100)
    job_id = ProcessingJobLifecycle.create(kind=KIND).job_id
    ProcessingJobLifecycle(job_id).mark_started()
    assert row(job_id)["usual"]["runs"] == 1


def test_start__asks_once(clock: mock.Mock) -> None:
    run(clock, 100)
    lifecycle = ProcessingJobLifecycle.create(kind=KIND)
    with CaptureQueriesContext(connection) as queries:
        lifecycle.mark_started()
    assert sum(KindRun._meta.db_table in query["sql"] for query in queries) == 1
    with CaptureQueriesContext(connection) as queries:
        count(lifecycle, clock, 100)
    assert not any(KindRun._meta.db_table in query["sql"] for query in queries)


def test_report__goes_by_how_earlier_runs_went(clock: mock.Mock) -> None:
    """The second stage takes nine times as long as the first, which no rate can know."""

    def stages(lifecycle: ProcessingJobLifecycle, *, upto: int) -> None:
        lifecycle.mark_progress(0, current=0, total=10, stage="read", of_stage=True)
        for step in range(1, 11):
            clock.return_value += 1
            lifecycle.mark_progress(5 * step, current=step, total=10, of_stage=True)
        for step in range(upto):
            clock.return_value += 9
            lifecycle.mark_progress(50 + 5 * step, current=step + 1, total=10, stage="load", of_stage=True)

    for _ in range(5):
        lifecycle = begin()
        stages(lifecycle, upto=10)
        lifecycle.mark_completed()
    lifecycle = begin()
    stages(lifecycle, upto=0)
    eta, learned = time_left(lifecycle)
    assert eta == pytest.approx(90, abs=5)
    assert learned["low"] <= eta <= learned["high"]


def test_report__of_a_stage_that_no_earlier_run_had_says_what_the_rate_says(clock: mock.Mock) -> None:
    run(clock, 100)
    lifecycle = begin()
    lifecycle.mark_progress(current=0, total=20, stage="new")
    for step in range(1, 6):
        clock.return_value += 1
        lifecycle.mark_progress(current=step)
    assert time_left(lifecycle) == (15.0, None)


def test_report__of_a_silent_stage_that_no_earlier_run_had_claims_nothing(clock: mock.Mock) -> None:
    run(clock, 100)
    lifecycle = begin()
    clock.return_value += 1
    lifecycle.mark_progress(stage="new")
    assert time_left(lifecycle) == (None, None)


def test_report__of_a_silent_stage_knows_now_what_is_left_later(clock: mock.Mock) -> None:
    def silent(lifecycle: ProcessingJobLifecycle, seconds: float) -> None:
        lifecycle.mark_progress(stage="solve")
        clock.return_value += seconds

    for seconds in (90, 95, 100, 105, 110):
        lifecycle = begin()
        silent(lifecycle, seconds)
        lifecycle.mark_completed()
    lifecycle = begin()
    silent(lifecycle, 0)
    eta, learned = time_left(lifecycle)
    assert eta == pytest.approx(100, abs=3)
    assert [then[0] for then in learned["later"]] == sorted(then[0] for then in learned["later"])
    assert learned["later"][-1] == [176, None, None, None]


def test_report__of_somebody_else_takes_back_what_only_the_worker_knows(clock: mock.Mock) -> None:
    run(clock, 100)
    lifecycle = begin()
    count(lifecycle, clock, 100, upto=3)
    assert time_left(lifecycle)[1] is not None
    ProcessingJobLifecycle(lifecycle.job_id).mark_progress(message="looked at")
    assert time_left(lifecycle) == (None, None)
    clock.return_value += 10
    lifecycle.mark_progress(current=4)
    assert time_left(lifecycle) == (60.0, None) or time_left(lifecycle)[1] is not None


def test_first_total__tells_what_is_usual_for_this_size(clock: mock.Mock) -> None:
    for seconds in (90, 95, 100, 105, 110):
        run(clock, seconds)
    lifecycle = begin()
    lifecycle.mark_progress(current=0, total=100, stage="rows")
    usual = row(lifecycle.job_id)["usual"]
    assert usual["scaled"] is True
    assert usual["seconds"] == pytest.approx([900, 1000, 1100], rel=0.05)
    event = JobEvent.objects.filter(job_id=lifecycle.job_id).latest("seq")
    assert (event.kind, event.metadata["stage"]) == ("status", "rows")
    lifecycle.mark_progress(current=1)
    assert JobEvent.objects.filter(job_id=lifecycle.job_id).latest("seq").kind == "tick"


@pytest.mark.parametrize("about", [{"size": 10}, {}])
def test_first_total__that_says_nothing_new_is_a_mere_report(clock: mock.Mock, about: dict[str, Any]) -> None:
    run(clock, **about)
    lifecycle = begin(**about)
    told = row(lifecycle.job_id)["usual"]
    lifecycle.mark_progress(current=0, total=10 if not about else 1_000)
    assert row(lifecycle.job_id)["usual"] == told
    assert JobEvent.objects.filter(job_id=lifecycle.job_id).latest("seq").kind == "tick"


def test_start__of_far_less_than_ever_does_not_claim_that_it_takes_no_time(clock: mock.Mock) -> None:
    run(clock, 10, size=10_000)
    assert row(begin(size=1).job_id)["usual"] is None


def test_event__that_says_nothing_new_of_the_time_left_says_of_when_it_is(clock: mock.Mock) -> None:
    run(clock, 100)
    lifecycle = begin()
    at = row(lifecycle.job_id)["updated_at"]
    eta, told = time_left(lifecycle)
    assert "at" not in told
    lifecycle.edit(name="Other")
    lifecycle.request_cancel()
    assert time_left(lifecycle) == (eta, {**told, "at": in_words(at)})
    clock.return_value += 1
    lifecycle.mark_progress(message="still there")
    assert "at" not in time_left(lifecycle)[1]


def test_event__that_says_nothing_new_of_nothing_says_nothing(clock: mock.Mock) -> None:
    lifecycle = begin()
    lifecycle.edit(name="Other")
    assert time_left(lifecycle) == (None, None)


def test_end__takes_it_away(clock: mock.Mock) -> None:
    run(clock, 100)
    lifecycle = run(clock, 100)
    assert not {"eta_seconds", "time_left"} & row(lifecycle.job_id)["metadata"].keys()


def test_reports__that_follow_each_other_are_estimated_ten_times_a_second_at_most(
    clock: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimates: list[float] = []
    real = learned.time_left
    monkeypatch.setattr(learned, "time_left", lambda *given: estimates.append(clock.return_value) or real(*given))
    for _ in range(2):
        lifecycle = begin()
        began = clock.return_value
        for step in range(300):
            clock.return_value += 0.01
            lifecycle.mark_progress(current=step % 10, total=10, stage=f"stage {step // 10}")
        lifecycle.mark_completed()
    seconds = [sum(begin <= at - began < begin + 1 for at in estimates) for begin in (0, 1, 2)]
    assert max(seconds) <= 10
    assert min(seconds) >= 4


def test_report__is_the_same_however_often_it_is_decided(clock: mock.Mock) -> None:
    """Somebody else writes a line between each two reports, so each is decided twice."""
    for _ in range(2):
        lifecycle = begin()
        lifecycle.mark_progress(current=0, total=10)
        for step in range(1, 11):
            ProcessingJobLifecycle(lifecycle.job_id).log("meanwhile")
            clock.return_value += 10
            lifecycle.mark_progress(current=step)
        lifecycle.mark_completed()
    assert [each.seconds for each in kept()] == [100.0, 100.0]
    assert len({each.course for each in kept()}) == 1

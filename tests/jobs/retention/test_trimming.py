"""The log of a running job, trimmed by its writer."""

import itertools
from typing import Any
from unittest import mock

import pytest
from django.core import checks
from django.db import OperationalError, connection, transaction
from django.test import override_settings

from jobs import selectors
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.retention import trimming
from jobs.retention.curve import stride
from jobs.selectors import Span
from jobs.states import EXTRAS
from tests.jobs.records import log, row
from tests.jobs.retention.small_logs import CANDIDATES, EVERY, TAIL, _small, report  # noqa: F401  (_small is a fixture)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_small")]


@pytest.fixture
def running(make_job: Any) -> ProcessingJobLifecycle:
    lifecycle: ProcessingJobLifecycle = make_job("job-1", status="in_progress")
    return lifecycle


def ticks() -> list[int]:
    return [event["seq"] for event in log("job-1") if event["kind"] == "tick"]


def replayed(after: int = 0) -> list[int]:
    job = row("job-1")
    span = Span(job["epoch"], after, job["seq"])
    return [event.seq for event in selectors.events_between({"job-1": span})["job-1"]]


def test_trim__a_running_job_keeps_its_tail_and_a_few_more(running: ProcessingJobLifecycle) -> None:
    for number in range(60):
        report(running, EVERY, begin=number * EVERY)
        kept = ticks()
        assert len(kept) <= TAIL + EVERY + CANDIDATES + 1
        assert kept[-TAIL:] == list(range(running.job.seq - TAIL + 1, running.job.seq + 1))[-len(kept) :]


def test_trim__what_is_above_the_floor_is_whole(running: ProcessingJobLifecycle) -> None:
    report(running, 333)
    floor, seq = row("job-1")["floor"], row("job-1")["seq"]
    assert seq - TAIL - EVERY < floor <= seq - TAIL
    assert replayed() == list(range(floor + 1, seq + 1))


def test_trim__leaves_statuses_stages_log_lines_and_the_first_tick(running: ProcessingJobLifecycle) -> None:
    report(running, 1)
    first = running.job.seq
    running.log("a line")
    report(running, 200, begin=1)
    running.mark_progress(stage="second")
    report(running, 100, begin=201)
    kinds = [event["kind"] for event in log("job-1")]
    assert (kinds.count("status"), kinds.count("stage"), kinds.count("log")) == (2, 1, 1)
    assert ticks()[0] == first


def test_trim__below_the_floor_the_candidates_of_the_curve_are_left(running: ProcessingJobLifecycle) -> None:
    report(running, 700)
    job = row("job-1")
    size = stride(0, job["seq"] - job["seq"] % EVERY)  # where it was trimmed last
    assert ticks()[1:][: job["floor"] // size] == list(range(size, job["floor"] + 1, size))


def test_trim__of_a_second_attempt_leaves_of_each_what_is_its_own(running: ProcessingJobLifecycle) -> None:
    report(running, 100)
    running.mark_failed()
    running.retry()
    began = running.job.seq
    assert running.job.attempt_seq == began
    running.mark_started()
    report(running, 400)
    first = [seq for seq in ticks() if seq < began]
    assert first[0] == 3
    assert first[-1] == 102
    assert first[1:-1] == [seq for seq in range(4, 102) if seq % stride(0, began - 1) == 0]
    size = stride(began - 1, running.job.seq)
    assert [seq for seq in ticks() if began < seq <= row("job-1")["floor"]][1:] == [
        seq for seq in range(began + 3, row("job-1")["floor"] + 1) if seq % size == 0
    ]


def test_trim__a_job_that_was_never_trimmed_is_caught_up_with_in_steps(running: ProcessingJobLifecycle) -> None:
    with mock.patch.object(trimming, "trim"):
        report(running, 300)
    floors = []
    for number in range(20):
        report(running, EVERY, begin=300 + number * EVERY)
        floors.append(row("job-1")["floor"])
    steps = [b - a for a, b in itertools.pairwise(floors)]
    assert max(steps) == trimming.MOST_AT_ONCE
    assert steps[-1] == EVERY


def test_trim__not_within_a_transaction_but_after_it(running: ProcessingJobLifecycle) -> None:
    report(running, 2 * TAIL)
    floor = row("job-1")["floor"]
    assert floor
    with transaction.atomic():
        report(running, 2 * EVERY, begin=2 * TAIL)
        assert row("job-1")["floor"] == floor
    assert row("job-1")["floor"] == floor + 2 * EVERY


def test_trim__rolled_back_is_nothing(running: ProcessingJobLifecycle) -> None:
    report(running, 2 * TAIL)
    before = log("job-1")
    with transaction.atomic():
        report(running, 2 * EVERY, begin=2 * TAIL)
        transaction.set_rollback(True)
    assert log("job-1") == before


def test_trim__a_failure_harms_no_report_and_the_next_one_makes_up(
    running: ProcessingJobLifecycle, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("DELETE"):
            raise OperationalError("the disk is full")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        report(running, TAIL + 2 * EVERY)
    assert "was not trimmed: the disk is full" in caplog.text
    assert row("job-1")["floor"] == 0  # the floor and what is deleted are one transaction
    assert replayed() == list(range(1, row("job-1")["seq"] + 1))
    report(running, EVERY, begin=TAIL + 2 * EVERY)
    assert row("job-1")["floor"] == row("job-1")["seq"] // EVERY * EVERY - TAIL


def test_trim__a_lost_connection_harms_no_report(running: ProcessingJobLifecycle) -> None:
    def lose(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("DELETE"):
            connection.connection.close()
            raise OperationalError("the connection is lost")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(lose):
        report(running, TAIL + EVERY)
    report(running, TAIL, begin=TAIL + EVERY)
    assert row("job-1")["metadata"]["current"] == 2 * TAIL + EVERY
    assert replayed(row("job-1")["floor"]) == list(range(row("job-1")["floor"] + 1, row("job-1")["seq"] + 1))


def test_trim__of_a_job_that_was_made_anew_does_nothing(running: ProcessingJobLifecycle, make_job: Any) -> None:
    with mock.patch.object(trimming, "trim"):
        report(running, 100)
    stale = running.job
    ProcessingJob.objects.all().delete()
    with mock.patch.object(trimming, "trim"):
        report(make_job("job-1", status="in_progress"), 100)
    trimming.trim(stale)
    assert (row("job-1")["floor"], len(log("job-1"))) == (0, 102)


def test_trim__never_lowers_the_floor(running: ProcessingJobLifecycle) -> None:
    report(running, 100)
    ProcessingJob.objects.update(floor=running.job.seq)
    trimming.trim(running.job)
    assert row("job-1")["floor"] == running.job.seq


def test_trim__of_lines_alone_searches_no_more_than_it_passes(running: ProcessingJobLifecycle) -> None:
    """There is no first tick, however long one looks for it."""
    for number in range(200):
        running.log(f"line {number}")
    seen: list[str] = []

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    before = row("job-1")["floor"]
    with connection.execute_wrapper(wrapper):
        for number in range(EVERY):
            running.log(f"line {200 + number}")
    assert row("job-1")["floor"] > before
    assert not [sql for sql in seen if "MIN(" in sql or "MAX(" in sql]


def test_trim__is_thought_of_once_in_so_many_events(running: ProcessingJobLifecycle) -> None:
    report(running, EVERY)
    with mock.patch.object(trimming, "trim") as trim:
        report(running, EVERY, begin=EVERY)
    trim.assert_called_once()


def test_trim__others_write_nothing_of_it(running: ProcessingJobLifecycle) -> None:
    """No change names the floor, so a writer that knows the row of before neither misses nor overwrites it."""
    report(running, 2 * TAIL)
    ProcessingJob.objects.update(floor=7)
    running.mark_progress(99)
    running.mark_completed()
    running.edit(name="another")
    assert row("job-1")["floor"] == 7


def test_indexes__name_nothing_that_a_report_writes() -> None:
    """PostgreSQL would make a new entry in every index for each report."""
    written = {"seq", "updated_at", "progress", "message", "metadata", "floor", "output_bytes"}
    for index in ProcessingJob._meta.indexes:
        named = {name.removeprefix("-") for name in index.fields}
        condition = (
            set() if index.condition is None else {str(name).split("__")[0] for name, _ in index.condition.children}
        )
        assert not (named | condition) & written
    assert not {field.name for field in ProcessingJob._meta.fields if field.db_index} & written
    for index in JobEvent._meta.indexes:
        ((name, kind),) = index.condition.children
        assert (name, kind in EXTRAS) == ("kind", True), "a tick has no entry in it"


@pytest.mark.parametrize("tail", [0, 999, 10_000_001, 5000.0, True, "6000"])
def test_check__tells_of_a_tail_that_makes_no_sense(tail: Any) -> None:
    with override_settings(JOBS_LOG_TAIL=tail):
        (problem,) = [each for each in checks.run_checks() if each.id == "jobs.E005"]
    assert "JOBS_LOG_TAIL" in problem.msg

"""What a job puts out, chunk by chunk: in order, once, the state as it was, and no more than is kept of a job."""

import asyncio
from typing import Any

import pytest
from django.core import checks
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from jobs.exceptions import InvalidValue, StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.retention import compaction, trimming
from jobs.validation import MAX_OUTPUT
from tests.jobs.records import log, row

pytestmark = pytest.mark.django_db(transaction=True)


def chunks(job_id: str) -> list[tuple[str, dict[str, Any]]]:
    return [(event["message"], event["metadata"]) for event in log(job_id) if event["kind"] == "output"]


def text_of(job_id: str) -> str:
    return "".join(text for text, _ in chunks(job_id))


def test_output__is_an_event_that_leaves_the_state(make_job: Any) -> None:
    job = make_job(status="in_progress")
    job.mark_progress(50, message="half")
    before = row(job.job_id)
    job.output("Hello, ")
    job.output("wörld\n", name="answer")
    job.output("")
    after = row(job.job_id)
    assert chunks(job.job_id) == [
        ("Hello, ", {"name": "output", "offset": 0}),
        ("wörld\n", {"name": "answer", "offset": 7}),
    ]
    assert after == {**before, "seq": before["seq"] + 2, "output_bytes": 14}


def test_output__in_any_status_and_of_any_attempt(make_job: Any) -> None:
    job = make_job()
    job.output("a")
    job.mark_started()
    job.output("b")
    job.mark_failed()
    job.retry()
    job.output("c")
    assert chunks(job.job_id) == [(text, {"name": "output", "offset": at}) for at, text in enumerate("abc")]


def test_output__of_an_attempt_that_is_over_is_refused(make_job: Any) -> None:
    job = make_job(status="in_progress")
    stale = ProcessingJobLifecycle(job.job)
    job.mark_queued()
    with pytest.raises(StaleAttempt):
        stale.output("late")
    assert chunks(job.job_id) == []


def test_output__by_two_objects_has_one_count(make_job: Any) -> None:
    one = make_job()
    other = ProcessingJobLifecycle(one.job_id)
    for number in range(3):
        one.output("1" * number)
        other.output("22")
    assert [about["offset"] for _, about in chunks(one.job_id)] == [0, 2, 3, 5, 7]
    assert row(one.job_id)["output_bytes"] == 9


def test_output__that_was_rolled_back_is_not_counted(make_job: Any) -> None:
    job = make_job()
    with transaction.atomic():
        job.output("gone")
        transaction.set_rollback(True)
    job.output("there")
    assert chunks(job.job_id) == [("there", {"name": "output", "offset": 0})]


def test_output__takes_no_query_more_than_a_tick(make_job: Any, django_assert_num_queries: Any) -> None:
    job = make_job(status="in_progress")
    job.output("a")
    with CaptureQueriesContext(connection) as of_tick:
        job.mark_progress(1)
    with django_assert_num_queries(len(of_tick)):
        job.output("b")


@pytest.mark.parametrize("characters", ["x", "€", "🎉"])
def test_output__past_what_is_kept_is_cut_once(make_job: Any, characters: str, settings: Any) -> None:
    settings.JOBS_OUTPUT_BYTES = most = 1_024
    job = make_job()
    written = ""
    for _ in range(70):
        job.output(characters * 17)
        written += characters * 17
    kept = text_of(job.job_id)
    assert written.startswith(kept)
    assert most - 4 < len(kept.encode()) <= most
    about = [each for _, each in chunks(job.job_id)]
    assert [each.get("cut", False) for each in about] == [False] * (len(about) - 1) + [True]
    assert job.job.seq == len(about) + 1, "what is left out makes no event"
    job.log("still there")
    job.mark_started()


def test_output__that_is_just_as_much_as_is_kept_is_whole(make_job: Any, settings: Any) -> None:
    settings.JOBS_OUTPUT_BYTES = 1_024
    job = make_job()
    job.output("x" * 1_024)
    assert chunks(job.job_id) == [("x" * 1_024, {"name": "output", "offset": 0})]
    job.output("y")
    job.output("z")
    assert chunks(job.job_id)[1:] == [("", {"name": "output", "offset": 1_024, "cut": True})]


@pytest.mark.parametrize(
    "arguments",
    [
        *({"text": text} for text in ("x" * (MAX_OUTPUT + 1), "\x00", "\ud800", b"bytes", None)),
        *({"text": "x", "name": name} for name in ("", "a b", "x" * 65, "é", "a\n", 5, None)),
    ],
    ids=repr,
)
def test_output__out_of_bounds(make_job: Any, arguments: dict[str, Any]) -> None:
    job = make_job()
    with pytest.raises(InvalidValue):
        job.output(**arguments)
    assert chunks(job.job_id) == []


def test_output__the_largest_is_taken(make_job: Any) -> None:
    job = make_job()
    job.output("€" * MAX_OUTPUT, name="a.b_c-" + "x" * 58)
    assert text_of(job.job_id) == "€" * MAX_OUTPUT


def test_aoutput__is_the_same(make_job: Any) -> None:
    job = make_job()
    asyncio.run(job.aoutput("text", name="answer"))
    assert chunks(job.job_id) == [("text", {"name": "answer", "offset": 0})]


def test_output__outlives_trimming_and_compaction(make_job: Any, settings: Any, monkeypatch: Any) -> None:
    settings.JOBS_LOG_TAIL = 1_000
    monkeypatch.setattr(trimming, "log_tail", lambda: 50)
    job = make_job(status="in_progress")
    for number in range(600):
        job.mark_progress(number / 10)
        if number % 100 == 0:
            job.output(f"{number} ")
    assert row(job.job_id)["floor"] > 0
    job.mark_completed()
    assert compaction.compact(job.job_id)
    assert text_of(job.job_id) == "0 100 200 300 400 500 "


@pytest.mark.parametrize("most", [0, 1_023, 2**30 + 1, 5000.0, True, "6000"])
def test_check__tells_of_a_bound_that_makes_no_sense(most: Any) -> None:
    with override_settings(JOBS_OUTPUT_BYTES=most):
        (problem,) = [each for each in checks.run_checks() if each.id == "jobs.E009"]
    assert "JOBS_OUTPUT_BYTES" in problem.msg

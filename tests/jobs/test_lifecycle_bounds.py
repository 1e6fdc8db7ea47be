"""Nothing beyond the bounds is stored: a refused call leaves row and log as they were."""

from math import inf, nan
from typing import Any

import pytest

from jobs.exceptions import InvalidValue
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.validation import MAX_METADATA
from tests.jobs.records import assert_whole, row, stored

pytestmark = pytest.mark.django_db(transaction=True)

BAD_METADATA: list[Any] = [
    [],
    "text",
    {1: 2},
    {"attempt": 7},
    {"rate": 1},
    {"a": nan},
    {"a": object()},
    {"a": "x\x00"},
    {"a": "\ud800"},
    {"a": "x" * MAX_METADATA},
    {"stage": 3},
]
BAD_MESSAGES: list[Any] = ["x" * 2001, "a\x00b", "\udfff", 5]

BAD_REPORTS: list[dict[str, Any]] = [
    *({"progress": value} for value in (nan, inf, -inf, -1, 100.5, True, False, "50")),
    *({"current": value} for value in (nan, inf, -1, True, "5")),
    *({"total": value} for value in (nan, inf, -1, True, "5")),
    {"current": 11, "total": 10},
    *({"message": value} for value in BAD_MESSAGES),
    *({"stage": value} for value in ("x" * 201, "\x00", 7)),
    *({"metadata": value} for value in BAD_METADATA),
]


def assert_refused(lifecycle: ProcessingJobLifecycle, method: str, **arguments: Any) -> None:
    before = stored(lifecycle.job_id)
    with pytest.raises(InvalidValue):
        getattr(lifecycle, method)(**arguments)
    assert stored(lifecycle.job_id) == before


@pytest.mark.parametrize("arguments", BAD_REPORTS, ids=lambda arguments: f"{arguments!a:.40}")
def test_mark_progress__out_of_bounds(make_job: Any, arguments: dict[str, Any]) -> None:
    lifecycle = make_job(status="in_progress")
    lifecycle.mark_progress(10, message="before")
    assert_refused(lifecycle, "mark_progress", **arguments)
    assert_refused(ProcessingJobLifecycle(lifecycle.job_id), "mark_progress", **arguments)


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("mark_queued", "pending"),
        ("mark_started", "queued"),
        ("mark_completed", "in_progress"),
        ("mark_failed", "in_progress"),
        ("mark_cancelled", "in_progress"),
        ("request_cancel", "in_progress"),
        ("retry", "failed"),
    ],
)
def test_changes_of_status__out_of_bounds(make_job: Any, method: str, status: str) -> None:
    lifecycle = make_job(status=status)
    for message in BAD_MESSAGES:
        assert_refused(lifecycle, method, message=message)
    for metadata in BAD_METADATA:
        assert_refused(lifecycle, method, metadata=metadata)


@pytest.mark.parametrize(
    "result", [nan, object(), "\x00", "\ud800", "x" * MAX_METADATA], ids=lambda value: f"{value!a:.9}"
)
def test_mark_completed__result_out_of_bounds(make_job: Any, result: Any) -> None:
    assert_refused(make_job(status="in_progress"), "mark_completed", result=result)


@pytest.mark.parametrize(
    "arguments", [*({"text": text} for text in BAD_MESSAGES), {"text": "x", "level": "loud"}, {"text": "x", "level": 7}]
)
def test_log__out_of_bounds(make_job: Any, arguments: dict[str, Any]) -> None:
    assert_refused(make_job(), "log", **arguments)


def test_metadata__is_bounded_over_all_reports(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    lifecycle.mark_progress(metadata={"a": "x" * (MAX_METADATA // 2)})
    assert_refused(lifecycle, "mark_progress", metadata={"b": "x" * (MAX_METADATA // 2)})
    lifecycle.mark_progress(metadata={"a": "short", "b": "x" * (MAX_METADATA // 2)})
    assert_whole(lifecycle.job_id)


def test_metadata__full_of_the_callers_own_still_takes_the_lifecycles(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress", metadata={"a": "x" * (MAX_METADATA - 20)})
    lifecycle.mark_progress(current=1, total=2)
    lifecycle.mark_failed(error="y" * 3000)
    assert row(lifecycle.job_id)["status"] == "failed"


def test_bounds__the_largest_of_all_is_taken(make_job: Any) -> None:
    lifecycle = make_job("x" * 64, status="in_progress", name="n" * 200)
    lifecycle.mark_progress(100, message="m" * 2000, stage="s" * 200, metadata={"a": "x" * (MAX_METADATA - 300)})
    lifecycle.log("l" * 2000)
    assert_whole(lifecycle.job_id)


def test_total_known_to_another__is_not_judged_by_what_this_object_knew(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    lifecycle.mark_progress(current=1, total=10)
    ProcessingJobLifecycle(lifecycle.job_id).mark_progress(total=20)
    lifecycle.mark_progress(current=15)
    assert row(lifecycle.job_id)["progress"] == 75.0

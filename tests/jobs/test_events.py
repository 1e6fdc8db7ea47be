"""The events that the changes of a job leave: in its log, as signals, and as its row."""

from typing import Any

import pytest

from jobs.models import JobEvent, ProcessingJob
from jobs.states import EventKind
from tests.jobs.records import assert_whole, row

pytestmark = pytest.mark.django_db(transaction=True)


def test_events__kinds(make_job: Any, committed: list[Any]) -> None:
    lifecycle = make_job(status="in_progress")
    lifecycle.mark_progress(1, stage="reading")
    lifecycle.mark_progress(2, stage="reading")
    lifecycle.log("line")
    lifecycle.mark_completed()
    kinds = [EventKind.STATUS, EventKind.STATUS, EventKind.STAGE, EventKind.TICK, EventKind.LOG, EventKind.STATUS]
    assert [event.kind for event in committed] == kinds


def test_events__signal_and_log_are_the_same(make_job: Any, committed: list[Any]) -> None:
    lifecycle = make_job(status="in_progress", metadata={"a": [1]})
    lifecycle.mark_progress(current=1, total=3, message="one", stage="s", metadata={"b": {"c": None}})
    lifecycle.mark_failed(error="x", metadata={"d": (1, 2)})
    rows = JobEvent.objects.filter(job_id=lifecycle.job_id).order_by("seq")
    assert [event.as_event(lifecycle.job.epoch) for event in rows] == committed


def test_events__every_change_leaves_a_log_that_folds_to_the_row(make_job: Any) -> None:
    lifecycle = make_job(status="failed", metadata={"mine": 1})
    steps: list[tuple[str, dict[str, Any]]] = [
        ("retry", {"metadata": {"why": "again"}}),
        ("mark_started", {}),
        ("mark_progress", {"current": 1}),
        ("mark_progress", {"total": 4, "message": "m"}),
        ("mark_progress", {"stage": "two", "metadata": {"k": [1]}}),
        ("request_cancel", {}),
        ("mark_progress", {"progress": 12.5}),
        ("mark_queued", {}),
        ("mark_started", {"message": "once more"}),
        ("mark_completed", {"result": 7}),
    ]
    for method, arguments in steps:
        getattr(lifecycle, method)(**arguments)
        assert_whole(lifecycle.job_id)
        lifecycle.log(method)
        assert_whole(lifecycle.job_id)
        assert lifecycle.job.metadata == row(lifecycle.job_id)["metadata"]


@pytest.mark.parametrize(
    "steps",
    [
        ["mark_queued", "request_cancel"],
        ["mark_started", "mark_completed"],
        ["mark_started", "mark_failed", "retry"],
        ["mark_cancelled"],
    ],
    ids=" ".join,
)
def test_every_change__the_row_is_as_old_as_the_last_event_that_shows_it(make_job, steps):
    """By this a reader knows that a log was set back and has come as far again."""
    job = make_job()
    for step in ["", *steps]:
        if step:
            getattr(job, step)()
        row = ProcessingJob.objects.get(pk=job.job_id)
        assert row.updated_at == row.events.exclude(kind="log").latest("seq").timestamp
    if not row.is_finished:
        job.log("a line")
        assert ProcessingJob.objects.get(pk=job.job_id).updated_at == row.updated_at

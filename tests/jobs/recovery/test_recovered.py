"""What is done with a job whose worker is lost: what its kind's options say."""

from typing import Any

import pytest

from jobs.leases import Worker
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.recovery import sweep
from jobs.recovery.sweep import look
from tests.jobs.records import assert_whole, row, stored
from tests.jobs.recovery.lost import DEAD, REQUEUE, MakeJob, begin, find, mark_of, silence, wait_out

pytestmark = pytest.mark.django_db(transaction=True)

LEAVE = {"*": {"recovery": "leave"}}


def test_fail__by_default_with_the_reason() -> None:
    begin("job-1").mark_progress(30, message="on its way")
    silence()
    find()
    wait_out()
    after = row("job-1")
    assert (after["status"], after["worker_id"], after["attempt"]) == ("failed", None, 1)
    assert after["error"].startswith("Its worker was lost: no sign of life for ")
    assert after["message"] == after["error"]
    assert after["metadata"] == {"attempt": 1, "error": after["error"], "worker_lost": True}
    assert_whole("job-1")
    assert look() == (sweep.LOOK_SECONDS, 0, 0)


def test_requeue__as_a_new_attempt_of_which_those_are_told_who_have_queues(settings: Any, requeued: Any) -> None:
    settings.JOBS_KINDS = REQUEUE
    begin("job-1", kind="thumbnails")
    silence()
    find()
    assert requeued == []
    wait_out()
    after = row("job-1")
    assert (after["status"], after["attempt"], after["worker_id"]) == ("queued", 2, None)
    assert after["message"] == "Its worker was lost; attempt 2 of 3 waits"
    assert after["metadata"] == {"attempt": 2}
    assert requeued == [("job-1", 2, "thumbnails")]
    assert_whole("job-1")


def test_requeue__of_the_last_attempt_fails(settings: Any, requeued: Any) -> None:
    settings.JOBS_KINDS = {"*": {"recovery": "requeue", "attempts": 2}}
    worker = begin("job-1")
    worker.mark_queued()
    worker.mark_started(worker=DEAD)
    silence()
    find()
    assert {name: mark_of("job-1")[name] for name in ("then", "attempt", "of")} == {
        "then": "fail",
        "attempt": 2,
        "of": 2,
    }
    wait_out()
    assert (row("job-1")["status"], row("job-1")["attempt"]) == ("failed", 2)
    assert row("job-1")["error"].endswith(", in attempt 2 of 2")
    assert requeued == []


def test_requeue__of_a_job_that_somebody_has_retried_beyond_the_last_attempt(settings: Any) -> None:
    settings.JOBS_KINDS = {"*": {"recovery": "requeue", "attempts": 2}}
    worker = begin("job-1")
    for _ in range(2):
        worker.mark_failed()
        worker.retry()
        worker.mark_started(worker=DEAD)
    silence()
    find()
    wait_out()
    assert row("job-1")["error"].endswith(", in attempt 3 of 3"), "and not «3 of 2»"


def test_leave__is_shown_and_nothing_else_and_not_looked_at_for_ever(
    settings: Any, django_assert_num_queries: Any
) -> None:
    settings.JOBS_KINDS = LEAVE
    begin("job-1")
    silence()
    find()
    assert mark_of("job-1").keys() == {"since", "then"}
    before = stored("job-1")
    look()
    assert stored("job-1") == before
    with django_assert_num_queries(1):
        assert look().late == 0
    sweep.forget()
    assert Worker.objects.exists()


@pytest.mark.parametrize("when", ["before", "after"])
def test_cancellation__that_was_asked_for_is_what_is_done(settings: Any, requeued: Any, when: str) -> None:
    settings.JOBS_KINDS = REQUEUE
    begin("job-1", kind="thumbnails")
    silence()
    if when == "before":
        ProcessingJobLifecycle("job-1").request_cancel()
    find()
    assert mark_of("job-1")["then"] == ("cancel" if when == "before" else "requeue")
    if when == "after":
        ProcessingJobLifecycle("job-1").request_cancel()
        assert mark_of("job-1") is not None, "nobody has heard of the worker"
    wait_out()
    assert row("job-1")["status"] == "cancelled"
    assert "stalled" not in row("job-1")["metadata"]
    assert requeued == []


def test_parent__and_its_children_are_as_any(make_job: MakeJob) -> None:
    parent = make_job("parent", status="in_progress")
    begin("child", parent=parent)
    silence()
    find()
    assert row("parent")["progress"] == 0
    assert mark_of("parent") is None
    wait_out()
    assert row("parent")["progress"] == 100, "it has ended"

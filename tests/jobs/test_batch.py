"""Changes of several jobs, written together."""

import time
from typing import Any
from unittest import mock

import pytest

from jobs import changes
from jobs.batch import Pending, log_decision, progress_decision, write_together
from jobs.decisions import Deferred
from jobs.exceptions import InvalidTransition, InvalidValue, JobNotFound, StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from jobs.retention import trimming
from tests.jobs.batches import JOBS, pending, said
from tests.jobs.records import assert_whole, log, row

pytestmark = pytest.mark.django_db(transaction=True)


def test_together__each_job_has_its_changes_in_order(running: Any, committed: list[Any], statements: list[str]) -> None:
    batch = [pending(lifecycle, 10, "a", "b", 20, "c") for lifecycle in reversed(running)]
    del statements[:]
    assert write_together(batch) == [None] * JOBS
    # All in one transaction, whose statements are few.
    assert [statement for statement in statements if statement != "BEGIN"] == ["SELECT", "UPDATE", "INSERT"]
    for lifecycle in running:
        assert said(lifecycle) == [10, "a", "b", 20, "c"]
        assert_whole(lifecycle.job_id)
        assert row(lifecycle.job_id)["progress"] == lifecycle.job.progress == 20
        assert [event.seq for event in committed if event.job_id == lifecycle.job_id] == [3, 4, 5, 6, 7]
    assert {event.message for event in committed if event.kind == "log"} == {"a", "b", "c"}


def test_together__what_is_written_is_what_watchers_are_told(running: Any, committed: list[Any]) -> None:
    write_together([pending(lifecycle, 10, "a") for lifecycle in running])
    for event in committed:
        stored = next(one for one in log(event.job_id) if one["seq"] == event.seq)
        assert (event.kind, event.status, event.progress) == (stored["kind"], stored["status"], stored["progress"])
        assert (event.message, event.metadata) == (stored["message"], stored["metadata"])
        assert event.timestamp == stored["timestamp"]


def test_together__equal_lines_are_each_written(running: Any, committed: list[Any]) -> None:
    assert write_together([pending(lifecycle, "x", "x", "x") for lifecycle in running]) == [None] * JOBS
    assert write_together([pending(lifecycle, "x") for lifecycle in running]) == [None] * JOBS
    for lifecycle in running:
        assert said(lifecycle) == ["x"] * 4
        assert_whole(lifecycle.job_id)
    assert len(committed) == 4 * JOBS


def test_together__what_is_handed_in_again_is_written_once(running: Any, committed: list[Any]) -> None:
    batch = [pending(lifecycle, 10, "x", "x") for lifecycle in running]
    write_together(batch)
    more = [Pending(one.lifecycle, [*one.decisions, log_decision("x")]) for one in batch]
    assert write_together(more) == write_together(more) == [None] * JOBS
    for lifecycle in running:
        assert said(lifecycle) == [10, "x", "x", "x"]
        assert_whole(lifecycle.job_id)
    assert len(committed) == 4 * JOBS


def test_together__nothing_is_nothing(running: Any, statements: list[str]) -> None:
    del statements[:]
    assert write_together([]) == []
    assert write_together([Pending(lifecycle, []) for lifecycle in running]) == [None] * JOBS
    assert statements == []


def test_write__of_nothing_is_nothing(running: Any, committed: list[Any]) -> None:
    running[0].write([])
    assert not committed


def test_together__one_job_takes_what_its_lifecycle_takes(running: Any, statements: list[str]) -> None:
    del statements[:]
    write_together([pending(running[0], 10)])
    taken = statements[:]
    del statements[:]
    running[1].mark_progress(10)
    assert taken == statements


def test_together__a_change_of_status_has_a_statement_of_its_own(running: Any) -> None:
    """What it writes besides is written by others as well, who make no event of it."""
    end = Deferred(changes.completed, {"message": "done", "result": None, "metadata": None})
    batch = [Pending(running[0], [log_decision("last"), end]), *(pending(lifecycle, "a") for lifecycle in running[1:])]
    assert write_together(batch) == write_together(batch) == [None] * JOBS
    assert said(running[0]) == ["last", 100]
    assert row("job-0")["status"] == running[0].job.status == "completed"
    for lifecycle in running:
        assert_whole(lifecycle.job_id)


def test_conflict__in_the_middle_hinders_no_other(running: Any, committed: list[Any], statements: list[str]) -> None:
    ProcessingJobLifecycle(running[1].job_id).edit(name="another", public=True)
    ProcessingJobLifecycle(running[2].job_id).request_cancel()
    del committed[:], statements[:]
    assert write_together([pending(lifecycle, 10, "a") for lifecycle in running]) == [None] * JOBS
    assert statements.count("INSERT") == 3  # the two others together
    for lifecycle in running:
        assert said(lifecycle)[-2:] == [10, "a"]
        assert_whole(lifecycle.job_id)
    assert running[2].cancel_requested
    assert row("job-1")["name"] == "another"
    assert row("job-2")["metadata"]["cancel_requested"] is True
    seqs = [(event.job_id, event.seq) for event in committed]
    assert sorted(seqs) == [(f"job-{n}", seq + (n in (1, 2))) for n in range(JOBS) for seq in (3, 4)]


def test_conflict__a_name_that_is_saved_meanwhile_stays(running: Any) -> None:
    """That makes no event, so the lifecycle does not know of it."""
    job = ProcessingJob.objects.get(pk="job-1")
    job.name = "saved"
    job.save()
    assert write_together([pending(lifecycle, 10, "a") for lifecycle in running]) == [None] * JOBS
    assert row("job-1")["name"] == "saved"


def test_refused__is_each_jobs_own(running: Any, make_job: Any, committed: list[Any]) -> None:
    large = make_job("large", status="in_progress", metadata={"half": "x" * 9_000})
    ended, stale, gone = running[:3]
    ProcessingJobLifecycle(ended.job_id).mark_completed()
    ProcessingJobLifecycle(stale.job_id).mark_queued()
    ProcessingJobLifecycle(gone.job_id).delete()
    del committed[:]
    batch = [pending(lifecycle, "a", 10) for lifecycle in [*running, ProcessingJobLifecycle("nowhere")]]
    batch.append(Pending(large, [log_decision("a"), progress_decision(metadata={"other half": "x" * 9_000})]))
    answers = write_together(batch)
    expected = [InvalidTransition, StaleAttempt, JobNotFound, type(None), JobNotFound, InvalidValue]
    assert [type(answer) for answer in answers] == expected
    assert said(running[3]) == ["a", 10]
    assert [event.job_id for event in committed] == [running[3].job_id] * 2
    assert said(ended) == [100]
    assert said(large) == []
    # A line of a job that has ended can be written yet.
    assert write_together([pending(ended, "after"), pending(large, "after")]) == [None, None]
    for lifecycle in (ended, large, running[3]):
        assert_whole(lifecycle.job_id)


def test_unknown__jobs_are_read_first(running: Any) -> None:
    by_id = [ProcessingJobLifecycle(lifecycle.job_id) for lifecycle in running]
    for _ in range(2):
        assert write_together([pending(lifecycle, 10, "a") for lifecycle in by_id]) == [None] * JOBS
    for lifecycle in by_id:
        assert said(lifecycle) == [10, "a"] * 2
        assert_whole(lifecycle.job_id)


def test_twice__in_one_batch_a_job_is_written_in_order(running: Any) -> None:
    other = ProcessingJobLifecycle(running[0].job_id)
    assert other.job.seq == 2
    batch = [pending(running[0], "a"), pending(running[1], "x"), pending(running[0], "b"), pending(other, "c")]
    assert write_together(batch) == [None] * 4
    assert said(running[0]) == ["a", "b", "c"]
    assert_whole(running[0].job_id)


def test_row_set_back__the_changes_follow_the_log(running: Any, committed: list[Any]) -> None:
    for lifecycle in running:
        lifecycle.log("a")
    ProcessingJob.objects.filter(pk="job-1").update(seq=2)
    running[1]._known = ProcessingJob.objects.get(pk="job-1")
    del committed[:]
    assert write_together([pending(lifecycle, "b", "c") for lifecycle in running]) == [None] * JOBS
    for lifecycle in running:
        assert said(lifecycle) == ["a", "b", "c"]
        assert_whole(lifecycle.job_id)
    assert len(committed) == 2 * JOBS


def test_bug__in_one_decision_is_that_jobs_own(running: Any) -> None:
    broken = Pending(running[1], [log_decision("a"), log_decision("b")])
    broken.decisions[1].arguments["unheard of"] = 1
    answers = write_together([pending(running[0], "a"), broken, pending(running[2], "a")])
    assert [answer is None for answer in answers] == [True, False, True]
    assert said(running[0]) == said(running[2]) == ["a"]
    assert said(running[1]) == []


@pytest.mark.parametrize(("lines", "trims"), [(497, []), (498, [500]), (700, [702]), (998, [1000, 1000])])
def test_trim__is_thought_of_wherever_a_multiple_is_passed(
    running: Any, monkeypatch: Any, lines: int, trims: list[int]
) -> None:
    trimmed: list[int] = []
    monkeypatch.setattr(trimming, "trim", lambda job: trimmed.append(job.seq))
    write_together([pending(running[0], *["x"] * lines), pending(running[1], "x")])
    assert trimmed == trims


def test_rate__is_that_of_reports_made_one_by_one(running: Any) -> None:
    moments = [(104.0, 8), (106.0, 20), (109.0, 21), (116.0, 60)]
    together, alone, beside, _ = running
    with mock.patch.object(time, "monotonic", return_value=100.0) as monotonic:
        for lifecycle in (together, alone):
            lifecycle.mark_queued()
            lifecycle.mark_started()
        for chunk in moments[:2], moments[2:]:
            decisions = []
            for monotonic.return_value, current in chunk:
                decisions.append(progress_decision(current=current, total=100))
                alone.mark_progress(current=current, total=100)
            monotonic.return_value += 0.5  # it is written later
            assert write_together([Pending(together, decisions), pending(beside, "x")]) == [None, None]
        shown = [
            [(event["metadata"].get("rate"), event["metadata"].get("eta_seconds")) for event in log(job.job_id)]
            for job in (together, alone)
        ]
    assert shown[0] == shown[1]
    assert shown[0][-1][0] is not None
    assert together._rate == alone._rate


def test_rate__of_a_report_made_while_the_one_before_was_written(running: Any) -> None:
    with mock.patch.object(time, "monotonic", return_value=100.0) as monotonic:
        for lifecycle in running[:2]:
            lifecycle.mark_queued()
            lifecycle.mark_started()
        monotonic.return_value = 104.0
        first = progress_decision(current=8, total=100)
        running[1].mark_progress(current=8, total=100)
        monotonic.return_value = 108.0
        second = progress_decision(current=40)
        running[1].mark_progress(current=40)
        for decision in first, second:
            write_together([Pending(running[0], [decision]), pending(running[2], "x")])
    assert row("job-0")["metadata"] == row("job-1")["metadata"]


def test_decisions__are_checked_when_they_are_made() -> None:
    with pytest.raises(InvalidValue):
        progress_decision(101)
    with pytest.raises(InvalidValue):
        log_decision("x" * 2_001)
    with pytest.raises(InvalidValue):
        log_decision("x", level="loud")

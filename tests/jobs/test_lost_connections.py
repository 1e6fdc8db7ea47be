"""A connection to PostgreSQL that is lost: before a statement, after it, before and after a COMMIT."""

import contextlib
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core import mail
from django.db import Error, connection, transaction

from jobs import threads
from jobs.exceptions import DuplicateJob, JobCancelled, JobNotFound
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from jobs.reporting import Reporter, run
from jobs.threads import ThreadPool
from progress.broker import doorbell
from progress.delivery import reads
from tests.jobs.cuts import CHANGES, cut, terminate_backend
from tests.jobs.records import assert_whole, log, row

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_age")]

MOMENTS = "before", "after", "at commit", "after commit"


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("name", CHANGES)
def test_change__is_made_once(make_job: Any, committed: list[Any], name: str, is_known: bool, moment: str) -> None:
    """In one statement where nobody else has written, else under a lock and with a COMMIT."""
    status, change = CHANGES[name]
    lifecycle = make_job(status=status)
    if not is_known:
        ProcessingJobLifecycle(lifecycle.job_id).log("by another")
    elif "commit" in moment:  # which the one statement has not
        lifecycle = ProcessingJobLifecycle(lifecycle.job_id)
    before = row(lifecycle.job_id)["seq"]
    del committed[:]
    word = "INSERT" if moment in MOMENTS[:2] else ""
    with cut(moment, word=word):
        change(lifecycle)
    assert [event.seq for event in committed] == [before + 1]
    assert_whole(lifecycle.job_id)
    assert row(lifecycle.job_id)["seq"] == before + 1
    lifecycle.log("and on")
    assert_whole(lifecycle.job_id)


@pytest.mark.parametrize("moment", MOMENTS)
def test_create__is_made_once(db: None, committed: list[Any], moment: str) -> None:
    with cut(moment, word="INSERT"):
        lifecycle = ProcessingJobLifecycle.create("job-1", name="once")
    assert [event.seq for event in committed] == [1]
    lifecycle.mark_started()
    assert_whole("job-1")
    with pytest.raises(DuplicateJob):
        ProcessingJobLifecycle.create("job-1")


def test_lost_before__the_next_read_is_on_another_connection(make_job: Any) -> None:
    job_id = make_job().job_id
    terminate_backend()
    assert ProcessingJobLifecycle(job_id).job.status == "pending"
    terminate_backend()
    ProcessingJobLifecycle(job_id).edit(name="another")
    assert row(job_id)["name"] == "another"
    terminate_backend()
    with pytest.raises(JobNotFound):
        ProcessingJobLifecycle("nowhere").log("a line")


def test_lost__in_the_callers_transaction_the_caller_hears_of_it(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    with pytest.raises(Error), transaction.atomic():  # noqa: PT012
        lifecycle.log("one")
        terminate_backend()
        lifecycle.log("two")
    assert [event["message"] for event in log(lifecycle.job_id)] == ["", ""]
    lifecycle.log("three")
    assert_whole(lifecycle.job_id)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_reporter__a_session_that_ends_now_and_then_costs_nothing(make_job: Any, monkeypatch: Any, moment: str) -> None:
    monkeypatch.setattr(run, "report_seconds", lambda: 0.0)
    lifecycle = make_job()
    with Reporter(lifecycle.job_id, total=30) as report:
        for number in range(30):
            with cut(moment, word="INSERT") if number % 10 == 3 else contextlib.nullcontext():
                report.advance()
                report.flush()
    job = row(lifecycle.job_id)
    assert (job["status"], job["metadata"]["current"]) == ("completed", 30)
    counts = [event["metadata"].get("current") for event in log(lifecycle.job_id) if event["kind"] == "tick"]
    assert counts == list(range(31))
    assert_whole(lifecycle.job_id)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
def test_reporter__start_and_end(make_job: Any, moment: str, end: str) -> None:
    lifecycle = make_job()
    by_id = ProcessingJobLifecycle(lifecycle.job_id)
    error = {"failed": ValueError("no"), "cancelled": JobCancelled(lifecycle.job_id)}.get(end)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(ValueError))
        begun = Reporter(by_id)
        with cut(moment, word="INSERT"):
            begun.__enter__()
        lifecycle_b = ProcessingJobLifecycle(lifecycle.job_id)
        lifecycle_b.log("by another, so that the end takes a lock")
        with cut(moment, word="INSERT"):
            begun.__exit__(type(error) if error else None, error, None)
    assert row(lifecycle.job_id)["status"] == end
    assert [event["status"] for event in log(lifecycle.job_id) if event["kind"] == "status"] == [
        "pending",
        "in_progress",
        end,
    ]
    assert_whole(lifecycle.job_id)


async def test_pools__replace_what_is_lost(monkeypatch: Any) -> None:
    monkeypatch.delattr(mail, "outbox")  # else a pool keeps no connection
    monkeypatch.setattr(doorbell, "is_in_tests", lambda: True)  # so that nobody is notified by another one
    monkeypatch.setattr(threads, "_pool", ThreadPool("jobs-db", lambda: 1))
    monkeypatch.setattr(reads, "_pool", ThreadPool("progress-reads", lambda: 1))
    lifecycle = await ProcessingJobLifecycle.acreate()
    sessions: set[int] = set()
    own: list[int] = []
    try:
        for number in range(6):
            await lifecycle.alog("a line")
            assert await reads.in_thread(ProcessingJob.objects.count) == 1
            sessions |= set(await sync_to_async(_other_sessions)(own, end=number % 2 == 1))
        assert len(sessions) == 6, "each was kept for two turns"
    finally:
        await sync_to_async(_other_sessions)(own, end=True)


def _other_sessions(own: list[int], *, end: bool) -> list[int]:
    """Return the sessions of others; of the own ones that are closed, the server may take a moment to let go."""
    with connection.cursor() as cursor:
        own.append(cursor.connection.info.backend_pid)
        cursor.execute(
            "SELECT pid, CASE WHEN %s THEN pg_terminate_backend(pid, 5000) END FROM pg_stat_activity "
            "WHERE datname = current_database() AND backend_type = 'client backend' AND NOT pid = ANY(%s)",
            [end, own],
        )
        found = [pid for pid, _ in cursor.fetchall()]
    connection.close()
    return found

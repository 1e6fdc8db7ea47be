"""A connection to PostgreSQL that is lost: before a statement, after it, before and after a COMMIT."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core import mail
from django.db import Error, OperationalError, connection, connections, transaction

from jobs import database, threads
from jobs.exceptions import DuplicateJob, JobCancelled, JobNotFound, StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from jobs.reporting import Reporter, reporter
from jobs.threads import ThreadPool
from progress.delivery import reads
from tests.jobs.records import assert_whole, log, row

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

MOMENTS = "before", "after", "at commit", "after commit"


@pytest.fixture(autouse=True, params=[0, 600], ids=["age 0", "age 600"])
def _age(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long connections are kept: of age, Django closes one after any error."""
    connection.close()
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", request.param)


def terminate_backend() -> None:
    """End this thread's session, as a restart of the server does: the client hears of it at its next use."""
    pid = connection.connection.info.backend_pid

    def kill() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    in_thread(kill)


def in_thread(work: Callable[[], None]) -> None:
    """Do something on another connection."""

    def run() -> None:
        work()
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@contextlib.contextmanager
def cut(moment: str, *, word: str = "", times: int = 1) -> Iterator[list[str]]:
    """Lose the connection at the next statement that has a word in it, or at the next COMMIT; tell what was cut."""
    left, met = times, []

    def lose(what: str) -> None:
        nonlocal left
        left -= 1
        met.append(what)
        terminate_backend()

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not left or word not in sql or "commit" in moment:
            return execute(sql, params, many, context)
        if moment == "before":
            lose(sql)
            return execute(sql, params, many, context)
        execute(sql, params, many, context)
        lose(sql)
        raise OperationalError("server closed the connection unexpectedly")

    real = type(connections["default"])._commit

    def commit(self: Any) -> None:
        if self is not here or not left or "commit" not in moment:
            return real(self)
        if moment == "at commit":
            lose("COMMIT")
            return real(self)
        real(self)
        lose("COMMIT")
        raise OperationalError("server closed the connection unexpectedly")

    here = connections["default"]
    with pytest.MonkeyPatch.context() as patch, connection.execute_wrapper(wrapper):
        patch.setattr(type(here), "_commit", commit)
        yield met
    assert left == 0, "nothing was cut"


CHANGES: dict[str, tuple[str, Callable[[ProcessingJobLifecycle], None]]] = {
    "mark_queued": ("pending", lambda job: job.mark_queued("a")),
    "mark_started": ("queued", lambda job: job.mark_started("a", metadata={"b": 1})),
    "mark_progress": ("in_progress", lambda job: job.mark_progress(current=5, total=10, message="a")),
    "mark_completed": ("in_progress", lambda job: job.mark_completed("a", result={"b": 1})),
    "mark_failed": ("in_progress", lambda job: job.mark_failed(error="a")),
    "mark_cancelled": ("in_progress", lambda job: job.mark_cancelled()),
    "request_cancel": ("in_progress", lambda job: job.request_cancel()),
    "retry": ("failed", lambda job: job.retry()),
    "log": ("in_progress", lambda job: job.log("a line")),
}


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
    lifecycle = make_job(status="failed")
    with away("after"):
        lifecycle.retry()
    lifecycle.retry()
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


@pytest.mark.parametrize("moment", ["before", "after"])
def test_reporter__a_session_that_ends_now_and_then_costs_nothing(make_job: Any, monkeypatch: Any, moment: str) -> None:
    monkeypatch.setattr(reporter, "MIN_INTERVAL", 0)
    lifecycle = make_job()
    with Reporter(lifecycle.job_id, total=30) as report:
        for number in range(30):
            with cut(moment, word="INSERT") if number % 10 == 3 else contextlib.nullcontext():
                report.advance()
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
    monkeypatch.setattr(threads, "_pool", ThreadPool("jobs-db", lambda: 1))
    monkeypatch.setattr(reads, "_pool", ThreadPool("progress-reads", lambda: 1))
    lifecycle = await ProcessingJobLifecycle.acreate()
    sessions: set[int] = set()
    try:
        for number in range(6):
            await lifecycle.alog("a line")
            assert await reads.in_thread(ProcessingJob.objects.count) == 1
            sessions |= set(await sync_to_async(_other_sessions)(end=number % 2 == 1))
        assert len(sessions) == 6, "each was kept for two turns"
    finally:
        await sync_to_async(_other_sessions)(end=True)


def _other_sessions(*, end: bool) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, CASE WHEN %s THEN pg_terminate_backend(pid, 5000) END FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
            [end],
        )
        found = [pid for pid, _ in cursor.fetchall()]
    connection.close()
    return found

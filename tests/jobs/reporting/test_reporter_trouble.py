"""A reporter that gets wrong arguments, or whose database refuses: the work goes on."""

import contextlib
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connection

from jobs.exceptions import JobCancelled
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent
from jobs.reporting import Reporter, notes, run, track
from jobs.reporting.notes import Notes
from tests.jobs.records import row
from tests.jobs.reporting.reported import stored

pytestmark = pytest.mark.django_db


def test_reporter__result_that_cannot_be_stored_is_replaced_by_the_reason(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        report.result = object()
    assert stored().status == "completed"
    assert stored().result.startswith("(not stored: The result can't be stored as JSON")


class Broken:
    """Raises whenever it is looked at."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    def __radd__(self, other: Any) -> Any:
        raise RuntimeError("no sum")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __iter__(self) -> Iterator[int]:
        return iter((1, 2))


NONSENSE: list[Any] = [float("nan"), float("inf"), "12", b"12", -5, 10**400, 1e300, Broken(), None, [], object()]


@pytest.mark.usefixtures("_every_report")
@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: type(value).__name__)
def test_reporter__no_number_fails_the_work(job: ProcessingJobLifecycle, value: Any) -> None:
    with Reporter(job, total=value) as report:
        report.total = None
        report.advance(2)
        report.advance(value)
        report.report(current=value)
        report.report(total=value)
        report.advance()
    done = stored()
    assert (done.status, done.metadata["current"]) == ("completed", 3)


@pytest.mark.usefixtures("_every_report")
@pytest.mark.parametrize(
    "value",
    [7, Broken(), "x" * 100_000, "a\x00b", "\ud800", b"bytes", [], ValueError("e")],
    ids=lambda v: type(v).__name__,
)
def test_reporter__no_text_fails_the_work(job: ProcessingJobLifecycle, value: Any) -> None:
    with Reporter(job, unit=value) as report:
        report.advance(message=value)
        report.report(stage=value)
        report.summary = value
        report.result = value
    done = stored()
    assert done.status == "completed"
    assert 0 < len(done.message) <= 2_000
    assert done.message.endswith("…") == (value == "x" * 100_000)


def test_reporter__says_once_what_it_can_not_store(job: ProcessingJobLifecycle, caplog: Any, monkeypatch: Any) -> None:
    warned: list[str] = []
    monkeypatch.setattr(notes.logger, "warning", lambda words, *arguments: warned.append(words % arguments))
    with Reporter(job, total=float("nan")) as report:
        for _ in range(5):
            report.advance("many")  # type: ignore[arg-type]
    assert len(warned) == 1
    assert "job-1" in warned[0]
    assert "count" in warned[0]


def test_reporter__says_nothing_where_all_is_well(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    monkeypatch.setattr(notes, "logger", None)
    with Reporter(job, total=2, unit="files") as report:
        report.advance()
        report.report(total=4, current=2)
        report.result = {"rows": 2}
    assert (stored().metadata["total"], stored().metadata["current"]) == (4, 4)


def test_reporter__says_what_it_has_replaced(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    warned: list[str] = []
    monkeypatch.setattr(notes.logger, "warning", lambda words, *arguments: warned.append(words % arguments))
    with Reporter(job) as report:
        report.result = object()
    assert "The result can't be stored" in warned[0]


def test_persist__within_the_callers_transaction_tries_once(make_job: Any, monkeypatch: Any) -> None:
    lifecycle = make_job()
    flaky = Flaky(lifecycle.mark_started, failures=2)
    monkeypatch.setattr(lifecycle, "mark_started", flaky)
    with pytest.raises(OperationalError), Reporter(lifecycle):
        raise AssertionError("the body runs")
    assert flaky.calls == 1


@pytest.mark.django_db(transaction=True)
def test_report__what_a_locked_database_refused_is_told_with_the_next(
    make_job: Any, monkeypatch: Any, warned: list[str]
) -> None:
    lifecycle = make_job("job-1")
    with Reporter(lifecycle, total=5) as report:
        monkeypatch.setattr(lifecycle, "write", Flaky(lifecycle.write, failures=1))
        report.advance(message="kept")
        report.flush()
        assert warned == ["Job 'job-1' can't report now (database is locked); it goes on."]
        report.advance()
        report.flush()
        assert (row("job-1")["message"], row("job-1")["metadata"]["current"]) == ("kept", 2)


def test_reporter__trouble_with_the_database_does_not_hide_the_error(
    job: ProcessingJobLifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("no database")

    monkeypatch.setattr(ProcessingJobLifecycle, "mark_failed", broken)
    with pytest.raises(KeyError), Reporter(job):
        raise KeyError("the work's own")


class Flaky:
    """A lifecycle's method on a database that does not answer for the first so many calls."""

    def __init__(self, method: Any, failures: int) -> None:
        self.method, self.failures, self.calls = method, failures, 0

    def __call__(self, *args: Any, **options: Any) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise OperationalError("database is locked")
        self.method(*args, **options)


@pytest.mark.django_db(transaction=True)
def test_report__a_locked_database_delays_it_and_fails_no_work(make_job: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(run, "report_seconds", lambda: 0)
    monkeypatch.setattr(run, "BACKOFF_SECONDS", 0)
    lifecycle = make_job()
    flaky = Flaky(lifecycle.mark_progress, failures=2)
    monkeypatch.setattr(lifecycle, "mark_progress", flaky)
    assert list(track(range(5), lifecycle)) == list(range(5))
    job = row(lifecycle.job_id)
    assert (job["status"], job["metadata"]["current"]) == ("completed", 5)


@pytest.mark.django_db(transaction=True)
def test_report__what_came_while_the_database_refused_is_the_newer(make_job: Any, monkeypatch: Any) -> None:
    """From another thread; it must not be undone by what was refused."""
    lifecycle = make_job("job-1")
    write = lifecycle.write

    def refuses(_: Any) -> None:
        monkeypatch.setattr(lifecycle, "write", write)
        report.report(current=2, message="newer")
        raise OperationalError("database is locked")

    with Reporter(lifecycle) as report:
        monkeypatch.setattr(lifecycle, "write", refuses)
        report.report(current=1, message="older")
        report.flush()
        report.summary = "done"
    assert [(event.message, event.metadata["current"]) for event in JobEvent.objects.filter(kind="tick")] == [
        ("newer", 2)
    ]


def test_report__after_a_failure_the_database_is_left_alone_for_a_while(make_job: Any, monkeypatch: Any) -> None:
    lifecycle = make_job(status="in_progress")
    begun = run.Run(lifecycle)
    flaky = Flaky(lifecycle.write, failures=1)
    monkeypatch.setattr(lifecycle, "write", flaky)
    monkeypatch.setattr(run, "connection_to_write", lambda: SimpleNamespace(in_atomic_block=False))
    for count in range(100):
        begun.notes.say(current=count)
        begun.write()
    assert flaky.calls == 1
    begun.write_last()
    assert (flaky.calls, row(lifecycle.job_id)["metadata"]["current"]) == (2, 99)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("method", ["mark_started", "mark_completed", "mark_failed", "mark_cancelled"])
def test_reporter__start_and_end_are_tried_again(make_job: Any, monkeypatch: Any, method: str) -> None:
    monkeypatch.setattr(run, "PERSIST_PAUSE_SECONDS", 0)
    lifecycle = make_job()
    flaky = Flaky(getattr(lifecycle, method), failures=2)
    monkeypatch.setattr(lifecycle, method, flaky)
    errors: dict[str, Exception] = {"mark_failed": ValueError(), "mark_cancelled": JobCancelled(lifecycle.job_id)}
    with contextlib.suppress(ValueError), Reporter(lifecycle):
        if method in errors:
            raise errors[method]
    assert flaky.calls == 3
    assert row(lifecycle.job_id)["status"] == method.replace("mark_", "").replace("started", "completed")


def test_report__in_the_callers_transaction_its_errors_are_raised(make_job: Any, monkeypatch: Any) -> None:
    lifecycle = make_job(status="in_progress")
    monkeypatch.setattr(lifecycle, "write", Flaky(lifecycle.write, failures=1))
    report = Reporter(lifecycle)
    with pytest.raises(OperationalError):
        report.report(current=1)


@pytest.mark.django_db(transaction=True)
def test_flush__with_nothing_new_is_as_patient_with_a_database_that_does_not_answer(
    make_job: Any, warned: list[str]
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("no answer")

    with Reporter(make_job("job-1")) as report:
        with connection.execute_wrapper(away):
            report.flush()
        assert warned == ["Job 'job-1' can't report now (no answer); it goes on."]
    assert row("job-1")["status"] == "completed"


def test_persist__ends_after_its_time_with_pauses_between(make_job: Any, monkeypatch: Any) -> None:
    clock, pauses = 0.0, []

    def sleep(seconds: float) -> None:
        nonlocal clock
        pauses.append(seconds)
        clock += seconds

    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: clock, sleep=sleep))
    monkeypatch.setattr(run, "connection_to_write", lambda: SimpleNamespace(in_atomic_block=False))
    warned: list[str] = []
    monkeypatch.setattr(run.logger, "warning", lambda words, *arguments: warned.append(words % arguments))
    lifecycle = make_job()
    flaky = Flaky(lifecycle.mark_started, failures=10_000)
    with pytest.raises(OperationalError):
        run.Run(lifecycle).persist(flaky)
    assert pauses == [1.0] * 301
    assert len(warned) == 301
    assert "locked); trying again" in warned[0]


@pytest.mark.django_db(transaction=True)
def test_total__that_another_thread_guesses_too_low_fails_no_report(make_job: Any, monkeypatch: Any) -> None:
    say, is_between, may_go_on = Notes.say, threading.Event(), threading.Event()

    def slow(self: Notes, **said: Any) -> None:
        if threading.current_thread() is guessing:
            is_between.set()
            assert may_go_on.wait(10)
        say(self, **said)

    with Reporter(make_job(), total=100) as report:
        report.report(current=10)
        report.report(current=20)
        monkeypatch.setattr(Notes, "say", slow)

        def guess() -> None:
            report.report(total=10)
            connection.close()

        guessing = threading.Thread(target=guess)
        guessing.start()
        assert is_between.wait(10)
        report.flush()
        may_go_on.set()
        guessing.join()


@pytest.mark.parametrize("total", ["12", float("nan"), -5, 10**400, object()], ids=["text", "NaN", "-5", "huge", "any"])
def test_total__that_is_no_number_is_left_out_whenever_it_is_set(job: ProcessingJobLifecycle, total: Any) -> None:
    with Reporter(job, total=9) as report:
        report.total = total
        report.report(current=1, stage="first")
        report.flush()
        report.total = None
    assert (stored().status, stored().metadata["total"]) == ("completed", 9)

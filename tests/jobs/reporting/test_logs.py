"""What the code logs, in the job's log."""

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.reporting import Reporter
from jobs.reporting.logs import JobLogHandler
from jobs.signals import job_event_committed
from tests.installation import ROOT, Site
from tests.jobs.reporting.reported import WAIT_SECONDS, MakeJob, told

pytestmark = pytest.mark.django_db


@pytest.fixture
def handler() -> Iterator[JobLogHandler]:
    """On the root, as a site has it."""
    root, handler = logging.getLogger(), JobLogHandler()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


def lines(job_id: str = "job-1") -> list[tuple[str, str]]:
    events = JobEvent.objects.filter(job_id=job_id, kind="log").order_by("seq")
    return [(event.metadata["level"], event.message) for event in events]


logger = logging.getLogger("import.rows")


@pytest.mark.usefixtures("handler")
def test_records__are_lines_with_their_levels(job: ProcessingJobLifecycle) -> None:
    with Reporter(job):
        logger.debug("looked at %s", "a")
        logger.info("took it")
        logger.warning("was late")
        logger.log(logging.WARNING + 5, "was very late")
        logger.log(5, "a trace")
        try:
            raise ValueError("row 1 is bad")
        except ValueError:
            logger.exception("left out")
    *first, (level, traceback) = lines()
    assert first == [
        ("debug", "looked at a"),
        ("info", "took it"),
        ("warning", "was late"),
        ("warning", "was very late"),
    ]
    assert level == "error"
    assert traceback.startswith("left out\nTraceback")
    assert traceback.endswith("ValueError: row 1 is bad")


@pytest.mark.usefixtures("handler")
def test_records__without_a_reporter_go_nowhere(job: ProcessingJobLifecycle) -> None:
    logger.warning("before")
    with Reporter(job) as report:
        pass
    logger.warning("behind")
    assert lines() == []
    assert report._notes.take() == []


@pytest.mark.usefixtures("handler")
def test_records__go_to_the_job_of_the_inner_block(make_job: MakeJob) -> None:
    with Reporter(make_job("outer")):
        with Reporter(make_job("inner")):
            logger.info("within")
        logger.info("around")
    assert (lines("inner"), lines("outer")) == ([("info", "within")], [("info", "around")])


def test_records__of_a_given_reporter_come_from_any_thread(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        handler = JobLogHandler(logging.INFO, report=report)
        logger.addHandler(handler)
        thread = threading.Thread(target=lambda: logger.warning("from elsewhere"))
        thread.start()
        thread.join()
        logger.debug("too low")
    logger.warning("behind")
    logger.removeHandler(handler)
    assert lines() == [("warning", "from elsewhere")]


class Silent:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("words", "arguments", "line"),
    [
        ("%d rows", ["many"], "%d rows (not formatted: TypeError)"),
        ("%s", [Silent()], "%s (not formatted: RuntimeError)"),
        (Silent(), [], "a value of type Silent (not formatted: RuntimeError)"),
        ("x" * 5_000, [], "x" * 1_999 + "…"),
        ("a\x00b", [], "a�b"),
    ],
)
def test_records__of_any_kind_raise_nothing(job: ProcessingJobLifecycle, words: Any, arguments: Any, line: str) -> None:
    with Reporter(job):
        JobLogHandler().handle(logging.LogRecord("own", logging.INFO, "", 0, words, tuple(arguments), None))
    assert lines() == [("info", line)]


@pytest.mark.django_db(transaction=True)
def test_records__cost_no_query_and_wait_for_nobody(
    make_job: MakeJob, handler: JobLogHandler, django_assert_num_queries: Any
) -> None:
    with Reporter(make_job("job-1")), django_assert_num_queries(0):
        for _ in range(100):
            logger.info("a line")
    assert len(lines()) == 100


@pytest.mark.usefixtures("handler")
def test_records__raise_no_cancellation(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        ProcessingJobLifecycle("job-1").request_cancel()
        logger.info("on the way")
        report.advance()
        logger.info("never")
    assert lines() == [("info", "on the way")]


@pytest.fixture
def _logged_events() -> Iterator[None]:
    """A receiver that logs each event, so that a line would make another."""

    def receive(event: Any, **_: Any) -> None:
        logger.info("%s: %s", event.job_id, event.kind)

    job_event_committed.connect(receive)
    yield
    job_event_committed.disconnect(receive)


@pytest.mark.usefixtures("handler", "_logged_events")
@pytest.mark.parametrize("is_given", [False, True])
@pytest.mark.parametrize("is_beside", [False, True])
@pytest.mark.django_db(transaction=True)
def test_records__that_writing_makes_are_no_lines(
    job: ProcessingJobLifecycle, monkeypatch: Any, is_given: bool, is_beside: bool
) -> None:
    if not is_beside:
        monkeypatch.setattr("jobs.reporting.synchronous.can_be_written_beside", lambda *_: False)
    root = logging.getLogger()
    with Reporter(job, total=9) as report, told(kind="log") as written:
        given = JobLogHandler(report=report)
        if is_given:
            root.addHandler(given)
        try:
            logger.info("a line")
            report.flush()
            assert written.wait(WAIT_SECONDS)
            report.advance()
            report.flush()
        finally:
            root.removeHandler(given)
    assert lines() == [("info", "a line")] * (1 + is_given)


@pytest.mark.usefixtures("handler")
def test_records__of_queries_and_of_this_app_are_no_lines(job: ProcessingJobLifecycle, settings: Any) -> None:
    connection.force_debug_cursor = True
    try:
        with Reporter(job) as report:
            ProcessingJob.objects.count()
            logging.getLogger("jobs.reporting.notes").warning("of ours")
            logging.getLogger("jobs_of_somebody").warning("of theirs")
            report.flush()
    finally:
        connection.force_debug_cursor = False
    assert lines() == [("warning", "of theirs")]


def test_handler__can_be_named_in_djangos_settings(sqlite_site: Site) -> None:
    code = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "progress_site.settings"
import django
import logging
from django.conf import settings

settings.LOGGING = {
    "version": 1,
    "handlers": {"job": {"class": "jobs.reporting.logs.JobLogHandler", "level": "INFO"}},
    "root": {"handlers": ["job"], "level": "INFO"},
}
django.setup()
from jobs.reporting import Job

for row in Job.create("job-1").track([1, 2]):
    logging.getLogger("rows").info("row %d", row)
"""
    subprocess.run([sys.executable, "-c", code], env=sqlite_site.env, cwd=ROOT, check=True)
    assert [event["message"] for event in sqlite_site.events("job-1") if event["kind"] == "log"] == ["row 1", "row 2"]

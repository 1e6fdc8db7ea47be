"""What a database does to the reports of a worker: the work goes on, and each report is there once."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.conftest import MakeSite
from tests.installation import Site, finish
from tests.sampling import first_quick
from tests.servers import silent

BEGUN = 100  # reports, after which the trouble comes
SOON = 2.0  # seconds after the cause is gone, in which reports come again
WAIT_SECONDS = 60.0

COMMON = """
import json, sys, time
from django.db import Error, connection
from jobs.reporting import report_thread
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Reporter

reports = int(sys.argv[1])
report_thread.report_seconds = lambda: 0.01
job = ProcessingJobLifecycle.create("job-1")
if connection.vendor == "sqlite":
    connection.close()
    connection.settings_dict["OPTIONS"]["timeout"] = 0.2
"""
BY_REPORTER = (
    COMMON
    + """
with Reporter(job, total=reports) as report:
    for number in range(reports):
        time.sleep(0.01)  # for which its thread may write a tick
        report.advance()
print(json.dumps([]))
"""
)
BY_CALLS = (
    COMMON
    + """
def until_recorded(change, *args, **options):
    while True:
        try:
            return change(*args, **options)
        except Error:
            time.sleep(0.05)

until_recorded(job.mark_started)
confirmed = []
for number in range(1, reports + 1):
    time.sleep(0.002)
    until_recorded(job.mark_progress, current=number, total=reports)
    confirmed.append(number)
until_recorded(job.mark_completed)
print(json.dumps(confirmed))
"""
)


@contextlib.contextmanager
def crashed(site: Site) -> Iterator[None]:
    """Kill one session of PostgreSQL as the kernel may: the server cuts all others and recovers."""
    url = site.database_url
    with psycopg.connect(url, autocommit=True) as victim, psycopg.connect(url, autocommit=True) as witness:
        os.kill(victim.info.backend_pid, signal.SIGKILL)
        # Until the server has noticed, it lets new sessions in: only another one that is cut says that it has.
        with pytest.raises(psycopg.OperationalError):
            witness.execute("SELECT pg_sleep(%s)", [WAIT_SECONDS])
    yield
    while True:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url):
            return


@contextlib.contextmanager
def cut_again_and_again(site: Site) -> Iterator[None]:
    """End every other session, a few times, each time after another report has come."""
    with psycopg.connect(site.database_url, autocommit=True) as connection:
        known = 0
        for _ in range(20):
            known = _next_report(connection, known)
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    yield


def _next_report(connection: "psycopg.Connection[Any]", known: int) -> int:
    """Wait until the log goes further; return how far."""
    latest = known
    while latest <= known:
        row = connection.execute("SELECT max(seq), pg_sleep(0.002) FROM jobs_jobevent").fetchone()
        assert row is not None
        latest = row[0]
    return latest


@contextlib.contextmanager
def unanswering(site: Site) -> Iterator[None]:
    with silent(site.database_url):
        yield
        time.sleep(3)


@contextlib.contextmanager
def locked(site: Site) -> Iterator[None]:
    path = site.database_url.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        time.sleep(3)
        connection.execute("ROLLBACK")


TROUBLES: dict[str, tuple[str, Callable[[Site], Any]]] = {
    "crash": ("postgres", crashed),
    "cuts": ("postgres", cut_again_and_again),
    "silence": ("postgres", unanswering),
    "lock": ("sqlite", locked),
}


def seq(site: Site) -> int:
    """Return how far the log goes, past all that may be in trouble."""
    return len(site.events("job-1"))


def until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> float:
    """Wait until something holds; return how many seconds that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < WAIT_SECONDS
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.mark.timeout(180)
@pytest.mark.parametrize("reports", [400, pytest.param(2_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "source", [pytest.param(BY_REPORTER, id="reporter", marks=pytest.mark.slow), pytest.param(BY_CALLS, id="calls")]
)
@pytest.mark.parametrize("trouble", first_quick(["crash", "lock", "silence", "cuts"]))
def test_reports__go_on_and_each_is_there_once(make_site: MakeSite, trouble: str, source: str, reports: int) -> None:
    backend, happens = TROUBLES[trouble]
    site = make_site(backend)
    worker = site.start_worker(source, str(reports))
    until(lambda: seq(site) > BEGUN, worker)
    with happens(site):
        pass
    known, took = seq(site), 0.0
    if worker.poll() is None:
        took = until(lambda: seq(site) > known or worker.poll() is not None, worker)
    confirmed = json.loads(finish(worker))
    events, job = site.events("job-1"), site.job("job-1")
    assert (job["status"], job["seq"]) == ("completed", len(events))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    counts = [event["metadata"]["current"] for event in events if event["kind"] == "tick"]
    assert counts == sorted(counts)
    assert counts[-1] == reports
    # The first count of a reporter is 0; two reports in one second may say the same count, but never the same event.
    assert Counter(counts).most_common(1)[0][1] == 1
    if source is BY_CALLS:
        assert counts == confirmed == list(range(1, reports + 1))
    print(f"{trouble}: reports came again after {took:.2f} s")
    assert took < SOON

"""Fixtures of all tests.

In this process (settings: ``tests/settings.py``, a SQLite file):

make_job(job_id=None, *, status="pending", …)   a job's lifecycle, brought to a status by its own methods;
                                                the other arguments are those of ``ProcessingJobLifecycle.create``
committed                                       a list that collects each committed event (needs transaction=True)

Servers, for the whole run; each skips the test, loudly, where it can't be had:

redis_server    .url  .kill() (SIGKILL)  .stop() (SIGTERM)  .start() again on the same port
postgres_url    the URL of a PostgreSQL's maintenance database
chromium        the path of the browser's program

Installations of the site (``tests/installation.py``), each with a fresh, migrated database, gone after the test:

make_site(backend="sqlite", **environment)   backend: "sqlite", "sqlite+redis", "postgres", "postgres+redis"
site             one on each of "sqlite", "sqlite+redis", "postgres+redis": for what must hold everywhere; the second
                 is slow, since each of its parts is in another
sqlite_site      one on SQLite alone
postgres_site    one on PostgreSQL alone
serve            a running ``manage.py serve`` on SQLite alone; its installation is ``serve.site``

site.serve(*options, kind="serve", **environment)   a `Served`, which answers; kinds: serve daphne runserver uvicorn
                                                    hypercorn
    .url .ws_url .port .pid .env .running .kill() .stop() .start() .signal(n) .wait() .log_text() .wait_for_log(text)
site.manage("migrate", …, status=0)     runs a command, returns what it prints
site.worker(source_or_path, *argv)      runs Python in another process with Django set up, returns what it prints
site.start_worker(…)                    the same as a Popen with pipes; ``installation.finish(process)`` waits
site.events(job_id)  site.job(job_id)   rows as dictionaries, read past Django
site.env                                the environment of its processes

``PROGRESS_FORBID_SKIPS=1`` makes every skip a failure of the run.
"""

import os
import shutil
import signal
import sqlite3
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.installation import Served, Site
from tests.servers import RedisServer, find_redis, running_postgres

FORBID_SKIPS = os.environ.get("PROGRESS_FORBID_SKIPS", "") not in ("", "0")
BROWSERS = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
POOLS = "jobs-db", "progress-reads"  # whose threads close what they open

MakeSite = Callable[..., Site]

_skipped: list[tuple[str, str]] = []  # which test, and why

# A shell without job control starts what is to run in the background with SIGINT ignored, and every child inherits
# that: the tests of Ctrl-C would wait for an end that never comes.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes long, or does again elsewhere what another does; run with -m slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "slow" not in config.getoption("-m"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        items[:] = [item for item in items if item not in slow]
        config.hook.pytest_deselected(items=slow)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note_skip(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note_skip(report)


def _note_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _skipped.append((report.nodeid, reason.removeprefix("Skipped: ")))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if FORBID_SKIPS and _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    if exitstatus:
        seed = config.getoption("randomly_seed", None)
        terminalreporter.line(f"This order of tests again: pytest --randomly-seed={seed}")
    if _skipped:
        title = "NOT RUN, and PROGRESS_FORBID_SKIPS forbids that" if FORBID_SKIPS else "NOT RUN"
        terminalreporter.section(title, sep="!", red=FORBID_SKIPS, yellow=not FORBID_SKIPS, bold=True)
        for test, reason in _skipped:
            terminalreporter.line(f"{test}: {reason}")


@pytest.fixture(autouse=True)
def connections_of_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the connections that a test's own threads leave behind, those of Django's bridge among them.

    Nobody else does, and from Python 3.13 on SQLite reports each. The threads of the software's own pools close theirs.
    """
    from django.db.backends.base.base import BaseDatabaseWrapper

    made: list[BaseDatabaseWrapper] = []
    connect = BaseDatabaseWrapper.connect

    def noting(self: BaseDatabaseWrapper) -> None:
        connect(self)
        thread = threading.current_thread()
        if thread is not threading.main_thread() and not thread.name.startswith(POOLS):
            made.append(self)

    monkeypatch.setattr(BaseDatabaseWrapper, "connect", noting)
    yield
    if (reports := sys.modules.get("jobs.reporting.report_thread")) is not None:
        reports.ReportThread.finish_of_this_process()
    if (children := sys.modules.get("jobs.children")) is not None:
        children.soon.finish()
    for connection in made:
        connection.inc_thread_sharing()
        connection.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    server = find_redis()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium: install the package chromium")
    return found


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file to copy."""
    folder = tmp_path_factory.mktemp("template")
    path = folder / "db.sqlite3"
    Site(f"sqlite:///{path}", folder).manage("migrate", "--verbosity=0")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that the one file is the whole database
    connection.close()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a migrated database to copy."""
    name = f"progress_template_{uuid.uuid4().hex[:8]}"
    _execute(postgres_url, f"CREATE DATABASE {name}")
    Site(_other_database(postgres_url, name), tmp_path_factory.mktemp("template")).manage("migrate", "--verbosity=0")
    yield name
    _execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def make_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeSite]:
    made: list[Site] = []

    def make(backend: str = "sqlite", **environment: str) -> Site:
        database, _, redis = backend.partition("+")
        redis_url = ""
        if redis:
            server: RedisServer = request.getfixturevalue("redis_server")
            server.start()  # a test before may have left it dead
            redis_url = server.url
        folder = tmp_path / f"site-{len(made)}"
        folder.mkdir()
        url = _fresh_postgres(request) if database == "postgres" else _fresh_sqlite(request, folder)
        made.append(Site(url, folder, redis_url, **environment))
        return made[-1]

    yield make
    for site in made:
        site.close()
        if not site.database_url.startswith("sqlite"):
            name = urlsplit(site.database_url).path.removeprefix("/")
            _execute(request.getfixturevalue("postgres_url"), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("sqlite+redis", marks=pytest.mark.slow), "postgres+redis"])
def site(request: pytest.FixtureRequest, make_site: MakeSite) -> Site:
    return make_site(request.param)


@pytest.fixture
def sqlite_site(make_site: MakeSite) -> Site:
    return make_site("sqlite")


@pytest.fixture
def postgres_site(make_site: MakeSite) -> Site:
    return make_site("postgres")


@pytest.fixture
def serve(sqlite_site: Site) -> Served:
    return sqlite_site.serve()


@pytest.fixture
def make_job(db: None) -> Callable[..., Any]:
    from jobs.lifecycle import ProcessingJobLifecycle

    steps = {
        "pending": (),
        "queued": ("mark_queued",),
        "in_progress": ("mark_started",),
        "completed": ("mark_started", "mark_completed"),
        "failed": ("mark_started", "mark_failed"),
        "cancelled": ("mark_cancelled",),
    }

    def make(job_id: str | None = None, *, status: str = "pending", **fields: Any) -> ProcessingJobLifecycle:
        lifecycle = ProcessingJobLifecycle.create(job_id, **fields)
        for step in steps[status]:
            getattr(lifecycle, step)()
        return lifecycle

    return make


@pytest.fixture
def committed() -> Iterator[list[Any]]:
    from jobs.signals import job_event_committed

    events: list[Any] = []

    def receive(event: Any, **_: Any) -> None:
        events.append(event)

    job_event_committed.connect(receive)
    yield events
    job_event_committed.disconnect(receive)


def _fresh_sqlite(request: pytest.FixtureRequest, folder: Path) -> str:
    path = shutil.copy(request.getfixturevalue("sqlite_template"), folder / "db.sqlite3")
    return f"sqlite:///{path}"


def _fresh_postgres(request: pytest.FixtureRequest) -> str:
    template = request.getfixturevalue("postgres_template")
    server = request.getfixturevalue("postgres_url")
    name = f"progress_{uuid.uuid4().hex[:12]}"
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    return _other_database(server, name)


def _other_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)

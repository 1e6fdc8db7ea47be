"""An installation of this project for a claim: a database with the job that is watched, perhaps a Redis."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import payload
from benchmarks.results import Result
from tests.installation import Served, Site
from tests.servers import find_redis, running_postgres

SETTINGS = {
    "DJANGO_DEBUG": "0",  # debugging keeps every query
    "DJANGO_SECRET_KEY": "for-the-benchmark-only",
    "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
    "DJANGO_LOG_LEVEL": "ERROR",
    "JOBS_HOUSEKEEPING_SECONDS": "86400",  # a write has SQLite's servers compare, and `peers.ours` writes no events
    "PROGRESS_MAX_CONNECTIONS_PER_CLIENT": "100000",  # all watchers have one address here
    "PROGRESS_MAX_HANDSHAKES_PER_SECOND": "10000",
    "PROGRESS_MAX_HANDSHAKES_BURST": "100000",
}
MAKE_JOB = """
import sys
from jobs.lifecycle import ProcessingJobLifecycle
lifecycle = ProcessingJobLifecycle.create(sys.argv[1], public=True)
lifecycle.mark_started()
"""


def installed(folder: Path, database_url: str = "", redis_url: str = "", **settings: str) -> Site:
    """Return an installation with its tables and the started job ``bench``."""
    folder.mkdir(exist_ok=True)
    url = database_url or f"sqlite:///{folder / 'db.sqlite3'}"
    site = Site(url, folder, redis_url, **{**SETTINGS, **settings})
    site.manage("migrate", "--verbosity", "0")
    site.worker(MAKE_JOB, payload.JOB)
    return site


@contextlib.contextmanager
def redis() -> Iterator[str | None]:
    """Run a Redis and give its URL; None, and a printed reason, if there is none."""
    try:
        server = find_redis()
    except pytest.skip.Exception as reason:
        print(f"  left out: all with Redis ({reason})")
        yield None
        return
    server.start()
    try:
        yield server.url
    finally:
        server.remove()


@contextlib.contextmanager
def postgres() -> Iterator[str | None]:
    """Run a PostgreSQL and give the URL of its database; None, and a printed reason, if there is none."""
    with contextlib.ExitStack() as stack:
        try:
            url = stack.enter_context(running_postgres())
        except pytest.skip.Exception as reason:
            print(f"  left out: all with PostgreSQL ({reason})")
            yield None
            return
        yield url


@contextlib.contextmanager
def redis_and_postgres(result: Result) -> Iterator[tuple[str, str] | None]:
    """Run both and give their URLs; None, and a remark on the result, if one is not there."""
    with redis() as redis_url, postgres() as database_url:
        if redis_url is None or database_url is None:
            result.remarks.append("Left out: it needs Redis and PostgreSQL.")
            yield None
        else:
            yield redis_url, database_url


def memory(served: Served) -> float:
    """Return a server's resident memory, in MiB."""
    fields = Path(f"/proc/{served.pid}/status").read_text().splitlines()
    return int(next(line for line in fields if line.startswith("VmRSS")).split()[1]) / 1024

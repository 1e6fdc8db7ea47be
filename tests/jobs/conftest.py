"""The tests of the jobs run on SQLite, and those that can on PostgreSQL as well: `test_on_postgres.py`."""

from collections.abc import Iterator

import pytest
from django.db import connection, connections

from jobs import reporter
from jobs.lifecycle import ProcessingJobLifecycle
from tests.jobs.reported import MakeJob


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "postgres: needs DATABASE_URL to name a PostgreSQL; test_on_postgres.py runs it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if connection.vendor != "postgresql":
        others = [item for item in items if item.get_closest_marker("postgres")]
        items[:] = [item for item in items if item not in others]
        config.hook.pytest_deselected(items=others)


@pytest.fixture(autouse=True)
def _own_clock() -> Iterator[None]:
    """A test that sets the clock leaves no trace of that: what the database's clock said is remembered by ours."""
    yield
    vars(connections["default"]).pop("_jobs_clock", None)


@pytest.fixture
def _every_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "MIN_INTERVAL", 0.0)


@pytest.fixture
def job(make_job: MakeJob) -> ProcessingJobLifecycle:
    return make_job("job-1")

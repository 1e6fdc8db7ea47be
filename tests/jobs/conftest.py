"""The tests of the jobs run on SQLite, and those that can on PostgreSQL as well: `test_on_postgres.py`."""

from collections.abc import Iterator

import pytest
from django.db import connection, connections

from jobs.reporting import run


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "sqlite: is about SQLite; test_on_postgres.py leaves it out")
    config.addinivalue_line("markers", "postgres: needs DATABASE_URL to name a PostgreSQL; test_on_postgres.py runs it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    elsewhere = "postgres" if connection.vendor != "postgresql" else "sqlite"
    others = [item for item in items if item.get_closest_marker(elsewhere)]
    items[:] = [item for item in items if item not in others]
    config.hook.pytest_deselected(items=others)


@pytest.fixture(autouse=True)
def _own_clock() -> Iterator[None]:
    """A test that sets the clock leaves no trace of that: what the database's clock said is remembered by ours."""
    yield
    vars(connections["default"]).pop("_jobs_clock", None)


@pytest.fixture(params=[0, 600], ids=["age 0", "age 600"])
def _age(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long connections are kept: of age, Django closes one after any error."""
    connection.close()
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", request.param)


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a reporter warns of, which reports each count and comes back at once to a database that failed."""
    monkeypatch.setattr(run, "report_seconds", lambda: 0)
    monkeypatch.setattr(run, "BACKOFF_SECONDS", 0)
    warnings: list[str] = []
    monkeypatch.setattr(run.logger, "warning", lambda words, *arguments: warnings.append(words % arguments))
    return warnings

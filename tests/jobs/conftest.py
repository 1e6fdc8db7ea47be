"""The tests of the jobs run on SQLite, and those that can on PostgreSQL as well: `test_on_postgres.py`."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, connections

from jobs import children
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import run
from tests.jobs.batches import JOBS
from tests.jobs.related import Make


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


@pytest.fixture
def running(make_job: Any, committed: list[Any]) -> list[ProcessingJobLifecycle]:
    lifecycles = [make_job(f"job-{number}", status="in_progress") for number in range(JOBS)]
    del committed[:]
    return lifecycles


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """The statements of this thread's connection."""
    seen: list[str] = []

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql.split()[0])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wrapper):
        yield seen


@pytest.fixture
def parent(make_job: Make) -> ProcessingJobLifecycle:
    return make_job("parent", status="in_progress")


@pytest.fixture
def _unmarked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks but for what is looked at at once."""
    monkeypatch.setattr(children.soon, "mark", lambda *_: None)

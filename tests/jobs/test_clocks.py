"""Whose clock says when a job has changed: the database's, which all share."""

from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import connection, connections
from django.utils import timezone

from jobs import database, selectors
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from progress.delivery.feed_reads import read_changes
from tests.jobs.records import log, row

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("wrong", [timedelta(seconds=-90), timedelta(hours=5)])
def test_times__are_right_where_a_workers_clock_is_not(wrong: timedelta) -> None:
    """A feed that looks for what has changed lately would miss it else."""
    began = timezone.now()
    with mock.patch.object(timezone, "now", side_effect=lambda: began + wrong):
        lifecycle = ProcessingJobLifecycle.create()
        lifecycle.mark_started()
        lifecycle.mark_completed()
    job = row(lifecycle.job_id)
    times = [job[name] for name in ("created_at", "started_at", "finished_at", "status_changed_at", "updated_at")]
    times += [event["timestamp"] for event in log(lifecycle.job_id)]
    assert all(timedelta(0) <= time - began < timedelta(seconds=30) for time in times)
    assert [job_id for job_id, *_ in selectors.jobs_changed_since(began)] == [lifecycle.job_id]


@pytest.mark.parametrize("wrong", [timedelta(seconds=-90), timedelta(hours=5)])
def test_changes__of_the_last_moment_are_found_by_a_server_whose_clock_is_not_right(wrong: timedelta) -> None:
    """Lists without Redis rest on it."""
    began = timezone.now()
    ProcessingJobLifecycle.create("long-ago")
    ProcessingJob.objects.update(status_changed_at=began - timedelta(seconds=60))
    ProcessingJobLifecycle.create("now")
    with mock.patch.object(timezone, "now", side_effect=lambda: began + wrong):
        found, news = read_changes(30, {})
    assert list(found) == news == ["now"]


def test_now__asks_the_database_once_a_minute(monkeypatch: Any) -> None:
    vars(connections["default"]).pop("_jobs_clock", None)
    connection.ensure_connection()
    first = database.now(connection)
    monotonic = database.time.monotonic
    with mock.patch.object(connection.connection, "cursor", side_effect=AssertionError("asks again")):
        assert first < database.now(connection) < first + timedelta(seconds=30)
        monkeypatch.setattr(database.time, "monotonic", lambda: monotonic() + 59)
        assert database.now(connection) > first + timedelta(seconds=58)
    monkeypatch.setattr(database.time, "monotonic", lambda: monotonic() + 61)
    assert database.now(connection) < first + timedelta(seconds=30)

"""Jobs of before there was a floor: what has ended is compacted as well."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from jobs.models import ProcessingJob
from jobs.retention.runs import earlier_runs, log_of

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE = ("jobs", "0002_public_index")


@pytest.fixture
def before() -> Iterator[Any]:
    """The models as they were."""
    executor = MigrationExecutor(connection)
    latest = [node for node in executor.loader.graph.leaf_nodes() if node[0] == "jobs"]
    executor.migrate([BEFORE])
    yield MigrationExecutor(connection).loader.project_state([BEFORE]).apps
    MigrationExecutor(connection).migrate(latest)


def migrate() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate([node for node in executor.loader.graph.leaf_nodes() if node[0] == "jobs"])


def test_migration__finds_what_is_to_be_compacted_and_where_attempts_began(before: Any) -> None:
    at = timezone.now()
    jobs, events = before.get_model("jobs", "ProcessingJob"), before.get_model("jobs", "JobEvent")
    for job_id, fields in {
        "long": {"status": "completed", "seq": 201},
        "short": {"status": "completed", "seq": 200},
        "running": {"status": "in_progress", "seq": 5_000},
        "retried": {"status": "failed", "seq": 300, "attempt": 2},
    }.items():
        jobs.objects.create(id=job_id, status_changed_at=at, **fields)
    for seq, status in (1, "pending"), (2, "queued"), (3, "in_progress"), (150, "failed"), (151, "queued"):
        events.objects.create(job_id="retried", seq=seq, kind="status", status=status, timestamp=at)
    migrate()
    now = {job.pk: job for job in ProcessingJob.objects.all()}
    assert {job_id: job.compact_after for job_id, job in now.items()} == {
        "long": at, "short": None, "running": None, "retried": at
    }  # fmt: skip
    assert {job_id: job.finished_at for job_id, job in now.items()} == {
        "long": at, "short": at, "running": None, "retried": at
    }  # fmt: skip
    assert {job.floor for job in now.values()} == {0}
    assert {job_id: job.attempt_seq for job_id, job in now.items() if job.attempt_seq} == {"retried": 151}
    (first,) = earlier_runs(now["retried"], log_of(now["retried"], "default"))
    assert (first.attempt, first.after, first.upto, first.outcome) == (1, 0, 150, "failed")


def test_migration__back_brings_no_deleted_job_back(make_job: Any) -> None:
    for job_id in "deleted", "present":
        make_job(job_id)
    ProcessingJob.objects.filter(pk="deleted").update(deleted_at=timezone.now())
    try:
        executor = MigrationExecutor(connection)
        executor.migrate([BEFORE])
        apps = MigrationExecutor(connection).loader.project_state([BEFORE]).apps
        assert apps.get_model("jobs", "ProcessingJob").objects.get().pk == "present"
        assert apps.get_model("jobs", "JobEvent").objects.get().job_id == "present"
    finally:
        migrate()

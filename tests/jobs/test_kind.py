"""What a job is told of at its start: what sort of work it is, in which stages, and how much."""

from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.exceptions import InvalidTransition, InvalidValue
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from jobs.states import Status
from tests.jobs.records import assert_whole, row, stored

pytestmark = pytest.mark.django_db(transaction=True)

PLAN = [["download", 1], ["resize", 3]]
BEFORE = ("jobs", "0006_what_has_ended")


def make_many() -> None:
    """Make 3,000 jobs of three kinds, a tenth of them completed; and let the database take note of that."""
    now = timezone.now()
    ended = {"status": Status.COMPLETED, "finished_at": now}
    ProcessingJob.objects.bulk_create(
        ProcessingJob(kind=f"kind-{number % 3}", **(ended if number % 10 == 0 else {})) for number in range(3_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def told(job_id: str) -> tuple[Any, ...]:
    return tuple(row(job_id)[name] for name in ("kind", "plan", "size"))


def test_create__keeps_kind_plan_and_size() -> None:
    lifecycle = ProcessingJobLifecycle.create("job-1", kind="thumbnails", plan={"download": 1, "resize": 3}, size=120)
    assert told("job-1") == ("thumbnails", PLAN, 120.0)
    assert (lifecycle.job.kind, lifecycle.job.plan, lifecycle.job.size) == told("job-1")


def test_create__by_default_nothing_is_known() -> None:
    ProcessingJobLifecycle.create("job-1")
    assert told("job-1") == ("", [], None)


WRONG = [
    {"kind": "x" * 101},
    {"kind": 5},
    {"kind": "\x00"},
    {"plan": "download"},
    {"plan": {"download": 0}},
    {"plan": ["a", "a"]},
    {"size": -1},
    {"size": float("nan")},
    {"size": "many"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_create__what_is_out_of_bounds_makes_no_job(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=next(iter(wrong))):
        ProcessingJobLifecycle.create("job-1", **wrong)
    assert not ProcessingJob.objects.exists()


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_start__what_is_out_of_bounds_starts_nothing(make_job: Any, wrong: dict[str, Any]) -> None:
    lifecycle = make_job("job-1")
    before = stored("job-1")
    with pytest.raises(InvalidValue, match=next(iter(wrong))):
        lifecycle.mark_started(**wrong)
    assert stored("job-1") == before


def test_start__what_is_not_told_stays(make_job: Any) -> None:
    lifecycle = make_job("job-1", kind="thumbnails", plan=["download"], size=5)
    lifecycle.mark_started(plan=["download", ("resize", 3)])
    assert told("job-1") == ("thumbnails", PLAN, 5.0)
    assert_whole("job-1")


@pytest.mark.parametrize(
    ("again", "expected"), [({}, ("a", PLAN, 5.0)), ({"kind": "", "plan": [], "size": 0}, ("", [], 0.0))]
)
def test_start__of_a_new_attempt(make_job: Any, again: dict[str, Any], expected: Any) -> None:
    lifecycle = make_job("job-1", status="failed", kind="a", plan=PLAN, size=5)
    lifecycle.retry()
    assert told("job-1") == ("a", PLAN, 5.0)
    lifecycle.mark_started(**again)
    assert told("job-1") == expected


def test_start__that_is_refused_tells_nothing(make_job: Any) -> None:
    lifecycle = make_job("job-1", status="cancelled")
    with pytest.raises(InvalidTransition):
        lifecycle.mark_started(kind="thumbnails")
    assert told("job-1") == ("", [], None)


def test_save__leaves_them_to_the_lifecycle(make_job: Any) -> None:
    job = make_job("job-1", kind="a").job
    job.kind, job.size = "b", 7
    job.save()
    with pytest.raises(InvalidValue):
        job.save(update_fields=["kind"])
    assert told("job-1") == ("a", [], None)


def test_index__finds_the_last_runs_of_a_kind() -> None:
    """However many others there are, and however many of it that ended otherwise."""
    make_many()
    last = ProcessingJob.objects.filter(kind="kind-0", status=Status.COMPLETED).order_by("-finished_at")[:5]
    plan = last.explain()
    assert "job_kind" in plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan
    assert len(last) == 5


def migrate(*nodes: tuple[str, str]) -> None:
    executor = MigrationExecutor(connection)
    latest = [node for node in executor.loader.graph.leaf_nodes() if node[0] == "jobs"]
    executor.migrate(list(nodes) or latest)


def test_migration__gives_the_jobs_that_there_are_none_and_writes_no_table_anew() -> None:
    migrate(BEFORE)
    try:
        apps = MigrationExecutor(connection).loader.project_state([BEFORE]).apps
        jobs = apps.get_model("jobs", "ProcessingJob")
        jobs.objects.create(id="before")
    finally:
        with CaptureQueriesContext(connection) as queries:
            migrate()
    assert told("before") == ("", [], None)
    statements = [query["sql"] for query in queries if ProcessingJob._meta.db_table in query["sql"]]
    assert [sql for sql in statements if "ADD COLUMN" in sql]
    assert not [sql for sql in statements if "INSERT INTO" in sql or "USING" in sql]
    columns = "id, name, public, status, message, metadata, error, attempt, epoch, seq, "
    times = "created_at, status_changed_at, updated_at"
    values = "'old', '', TRUE, 'pending', '', '{}', '', 1, 'e', 0, " + ", ".join(["CURRENT_TIMESTAMP"] * 3)
    with connection.cursor() as cursor:  # as a worker of the version before does
        cursor.execute(f"INSERT INTO {ProcessingJob._meta.db_table} ({columns}{times}) VALUES ({values})")
    assert told("old") == ("", [], None)

"""What a look at children reads and writes, and what it makes of rows that make no sense."""

from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import children
from jobs.models import JobEvent, ProcessingJob
from tests.jobs.records import row
from tests.jobs.related import Make, settled

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.usefixtures("parent")
def test_roll_up__writes_nothing_where_nothing_changes(make_job: Make) -> None:
    make_job(parent="parent", status="completed")
    settled()
    before = row("parent")
    assert children.roll_up(["parent"]) == []
    assert row("parent") == before


def test_roll_up__reads_the_children_of_all_parents_in_one_query(make_job: Make) -> None:
    parents = [make_job(f"parent-{number}", status="in_progress") for number in range(5)]
    for above in parents:
        make_job(parent=above, status="in_progress").mark_progress(40)
    children.soon.finish()
    jobs = [make_job(parent=above) for above in parents]
    children.soon.finish()
    ProcessingJob.objects.filter(pk__in=[job.job_id for job in jobs]).update(weight=3)
    with CaptureQueriesContext(connection) as queries:
        children.roll_up([above.job_id for above in parents])
    assert sum("GROUP BY" in query["sql"] for query in queries) == 1
    assert {row(above.job_id)["progress"] for above in parents} == {10}


def test_roll_up__finds_children_by_the_index(make_job: Make) -> None:
    ProcessingJob.objects.bulk_create(ProcessingJob() for _ in range(2_000))
    make_job("parent")
    ProcessingJob.objects.bulk_create(ProcessingJob(parent_id="parent") for _ in range(5))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    assert "job_parent" in children.children_of("default", ["parent"]).order_by().explain()


@pytest.mark.usefixtures("parent")
def test_ticks__of_a_child_are_looked_at_together(make_job: Make) -> None:
    one = make_job(parent="parent", status="in_progress")
    children.soon.finish()
    before = row("parent")["seq"]
    for number in range(1, 100):
        one.mark_progress(number)
    assert settled() == 99
    assert row("parent")["seq"] - before < 10
    assert set(JobEvent.objects.filter(job_id="parent", seq__gt=before).values_list("kind", flat=True)) == {"tick"}


@pytest.mark.usefixtures("parent")
def test_child__that_is_rolled_back_moves_nothing(make_job: Make) -> None:
    one = make_job(parent="parent", status="in_progress")
    with transaction.atomic():
        one.mark_completed()
        transaction.set_rollback(True)
    assert settled() == 0


@settings(deadline=None, max_examples=30)  # a database takes its time
@given(st.lists(st.tuples(st.floats(1e-9, 1e9), st.none() | st.floats(0, 100), st.booleans()), max_size=8))
def test_shares__are_those_of_the_definition(made: list[tuple[float, float | None, bool]]) -> None:
    """Each child: its weight, its progress, whether it has ended."""
    ProcessingJob.objects.all().delete()
    ProcessingJob.objects.create(id="parent")
    ProcessingJob.objects.bulk_create(
        ProcessingJob(
            parent_id="parent", weight=weight, progress=percent, status="failed" if is_over else "in_progress"
        )
        for weight, percent, is_over in made
    )
    found = children.shares("default", ["parent", "nobody"])
    if not made:
        assert found == {}
        return
    counted = [(weight, 100 if is_over else percent or 0) for weight, percent, is_over in made]
    expected = sum(weight * percent for weight, percent in counted) / sum(weight for weight, _ in counted)
    assert found["parent"].number == len(made)
    assert found["parent"].percent == pytest.approx(expected, abs=1e-5)
    assert 0 <= found["parent"].percent <= 100


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("weight", 0, 80),
        ("weight", "Infinity", 80),
        ("weight", 1e-320, 80),
        ("progress", "NaN", 50),
        ("progress", -9, 50),
    ],
)
@pytest.mark.usefixtures("parent")
def test_parent__of_a_child_whose_row_makes_no_sense(make_job: Make, field: str, value: Any, expected: float) -> None:
    """An import may have stored anything."""
    make_job(parent="parent", status="completed")
    make_job("bad", parent="parent", status="in_progress").mark_progress(40)
    children.soon.finish()
    if connection.vendor == "sqlite" and isinstance(value, str):
        value = {"Infinity": 9e999, "NaN": None}[value]
    with connection.cursor() as cursor:
        moved = "progress = 60, " if field == "weight" else ""  # else the parent stays as it is also if the look fails
        cursor.execute(f"UPDATE {ProcessingJob._meta.db_table} SET {moved}{field} = %s WHERE id = 'bad'", [value])
    children.roll_up(["parent"])
    assert row("parent")["progress"] == expected


def test_roll_up__a_parent_whose_row_makes_no_sense_harms_no_other(make_job: Make) -> None:
    made = [make_job(job_id, status="in_progress") for job_id in ("bad", "good")]
    for above in made:
        make_job(parent=above, status="in_progress")
    children.soon.finish()
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {ProcessingJob._meta.db_table} SET metadata = '[1]' WHERE id = 'bad'")
    ProcessingJob.objects.filter(parent__in=["bad", "good"]).update(progress=30)
    assert children.roll_up(["bad", "good"]) == []
    assert row("good")["progress"] == 30

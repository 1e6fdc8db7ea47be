"""Jobs that are parts of another one."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import changes, children, family, looks
from jobs.actors import Actor
from jobs.exceptions import InvalidValue, StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobAction, JobEvent, ProcessingJob
from jobs.reporting import Reporter
from tests.jobs.admin_pages import LIST, detail, page, staff
from tests.jobs.records import assert_whole, row
from tests.jobs.test_races import race

pytestmark = pytest.mark.django_db(transaction=True)

Make = Callable[..., ProcessingJobLifecycle]


@pytest.fixture
def parent(make_job: Make) -> ProcessingJobLifecycle:
    return make_job("parent", status="in_progress")


@pytest.fixture
def _unmarked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks but for what is looked at at once."""
    monkeypatch.setattr(children.soon, "mark", lambda *_: None)


def settled() -> float | None:
    """Return how far the parent is, once all that is marked was looked at."""
    children.soon.finish()
    assert_whole("parent")
    progress: float | None = row("parent")["progress"]
    return progress


# Made


def test_create__a_child_has_its_parents_owner_and_visibility_unless_it_is_given_its_own(
    make_job: Make, django_user_model: Any
) -> None:
    ann, bob = (django_user_model.objects.create(username=name) for name in ("ann", "bob"))
    above = make_job("parent", owner=ann, public=True)
    one = make_job(parent=above).job
    assert (one.parent_id, one.owner, one.public, one.weight) == ("parent", ann, True, 1.0)
    other = make_job(parent="parent", weight=2, owner=bob, public=False).job
    assert (other.parent_id, other.owner, other.public, other.weight) == ("parent", bob, False, 2.0)
    assert make_job(parent=above.job, owner=None).job.owner is None
    assert (make_job().job.owner, make_job().job.public) == (None, False)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_create__a_parent_that_has_ended_takes_none(make_job: Make, status: str) -> None:
    make_job("parent", status=status)
    with pytest.raises(InvalidValue, match=f"'parent' has ended .{status}"):
        make_job("child", parent="parent")
    assert not ProcessingJob.objects.filter(pk="child").exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"parent": "nobody"}, "'nobody' is not there"),
        ({"parent": "no id!"}, "is no job id"),
        ({"parent": "child"}, "'child' is not there"),
        ({"parent": "parent", "weight": 0}, "above 0"),
        ({"parent": "parent", "weight": float("nan")}, "weight"),
        ({"parent": "parent", "weight": 1e10}, "weight"),
        ({"parent": "parent", "weight": 1e-10}, "weight"),
    ],
    ids=repr,
)
@pytest.mark.usefixtures("parent")
def test_create__what_is_wrong_makes_none(make_job: Make, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        make_job("child", **wrong)
    assert not ProcessingJob.objects.filter(pk="child").exists()


def test_create__the_worker_of_an_earlier_attempt_adds_none(make_job: Make, parent: ProcessingJobLifecycle) -> None:
    ProcessingJobLifecycle("parent").mark_queued()
    with pytest.raises(StaleAttempt):
        make_job("child", parent=parent)


def test_reporter__makes_one(make_job: Make) -> None:
    make_job("parent", public=True)
    with Reporter("parent") as report:
        first = report.child("part 1", weight=2)
        second = report.child(job_id="second", kind="part")
        assert (first.job.name, first.job.weight, first.job.parent_id, first.job.public) == (
            "part 1",
            2,
            "parent",
            True,
        )
        assert (second.job_id, second.job.kind) == ("second", "part")
        with Reporter(first):
            pass
        assert settled() == 66.66
        with Reporter(second):
            pass
        assert settled() == 100
    assert row("parent")["status"] == "completed"


# How far it is


@pytest.mark.usefixtures("parent")
def test_parent__is_as_far_as_its_children_by_weight(make_job: Make) -> None:
    one, two = (make_job(parent="parent", weight=weight, status="in_progress") for weight in (3, 1))
    one.mark_progress(50)
    assert settled() == 37.5
    two.mark_progress(None, current=7)
    assert two.job.progress is None
    assert settled() == 37.5, "what is unknown counts 0"
    assert row("parent")["metadata"]["child_jobs"] == 2


@pytest.mark.usefixtures("parent", "_unmarked")
@pytest.mark.parametrize("end", ["mark_completed", "mark_failed", "mark_cancelled"])
def test_parent__shows_a_childs_end_at_once_however_it_ends(make_job: Make, end: str) -> None:
    one, _ = (make_job(parent="parent", status="in_progress") for _ in range(2))
    getattr(one, end)()
    assert row("parent")["progress"] == 50


@pytest.mark.usefixtures("parent")
def test_parent__all_that_have_ended_are_all_of_it_whatever_the_sum_of_the_weights_rounds_to(make_job: Make) -> None:
    for weight in (0.1, 0.2, 0.3, 1e-9, 1 / 3):
        make_job(parent="parent", weight=weight, status="completed")
    assert settled() == 100


def test_parent__its_own_count_is_shown_and_does_not_move_the_bar(
    make_job: Make, parent: ProcessingJobLifecycle
) -> None:
    make_job(parent="parent", status="completed")
    make_job(parent="parent")
    assert settled() == 50
    parent.mark_progress(current=9, total=10)
    assert parent.job.metadata.items() >= {"current": 9, "total": 10, "child_jobs": 2}.items()
    assert settled() == 50
    parent.mark_progress(90, stage="own")
    assert settled() == 50
    parent.mark_completed()
    assert settled() == 100


def test_parent__that_has_not_begun_shows_it_once_it_has(make_job: Make) -> None:
    above = make_job("parent")
    make_job(parent="parent", status="completed")
    make_job(parent="parent")
    assert settled() == 0
    assert row("parent")["status"] == "pending"
    above.mark_started()
    assert row("parent")["progress"] == 50, "at once, since perhaps nobody moves any more"


@pytest.mark.parametrize("end", ["mark_completed", "mark_failed", "mark_cancelled"])
def test_parent__that_has_ended_stays_as_it_was(make_job: Make, parent: ProcessingJobLifecycle, end: str) -> None:
    one, two = (make_job(parent="parent", status="in_progress") for _ in range(2))
    one.mark_completed()
    getattr(parent, end)()
    children.soon.finish()
    before = row("parent")
    two.mark_completed()
    settled()
    assert row("parent") == before


def test_parent__of_a_new_attempt_is_as_far_as_what_that_does(make_job: Make, parent: ProcessingJobLifecycle) -> None:
    done, failed = (make_job(parent="parent", status=status) for status in ("completed", "failed"))
    assert settled() == 100
    parent.mark_failed()
    parent.retry()
    parent.mark_started()
    assert settled() == 0
    failed.retry()
    assert settled() == 0
    make_job(parent=parent)
    failed.mark_started()
    failed.mark_completed()
    assert settled() == 50, f"{done.job_id} was a part of the first attempt"
    assert row("parent")["metadata"]["child_jobs"] == 2


def test_parent__that_took_the_id_of_another_has_none_of_its_children(make_job: Make) -> None:
    make_job("parent", status="in_progress")
    one = make_job("child", parent="parent", status="in_progress")
    ProcessingJobLifecycle("parent").delete()
    one.mark_progress(10)
    one.log("Its parent is gone")
    make_job("parent", status="in_progress")
    one.mark_completed()
    assert settled() == 0
    assert ProcessingJob.objects.get(pk="child").parent_id == "parent"
    assert_whole("child")


def test_grandparent__is_told_as_well(make_job: Make, parent: ProcessingJobLifecycle) -> None:
    middle = make_job("middle", parent=parent, status="in_progress")
    make_job(parent=parent)
    low = make_job(parent=middle, status="in_progress")
    low.mark_progress(50)
    children.soon.finish()
    assert row("middle")["progress"] == 50
    assert settled() == 25


def test_parent__shows_the_time_left(make_job: Make, parent: ProcessingJobLifecycle) -> None:
    change = changes.rolled_up(parent.job, 2, 25, parent.job.started_at + timedelta(seconds=10))
    assert change is not None
    assert change.fields["metadata"]["eta_seconds"] == 30


# What it costs


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
        ("weight", 0, 70),
        ("weight", "Infinity", 70),
        ("weight", 1e-320, 70),
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
        cursor.execute(f"UPDATE {ProcessingJob._meta.db_table} SET {field} = %s WHERE id = 'bad'", [value])
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


# At once


@pytest.mark.usefixtures("parent", "_unmarked")
def test_race__of_the_last_ends_the_bar_is_never_left_short(make_job: Make) -> None:
    for _ in range(5):
        made = [make_job(parent="parent", status="in_progress") for _ in range(4)]
        assert race(*(child.mark_completed for child in made)) == [None] * 4
        assert row("parent")["progress"] == 100
    assert_whole("parent")


@pytest.mark.postgres
@pytest.mark.usefixtures("parent", "_unmarked")
def test_race__who_has_read_before_the_last_end_does_not_write_after_it(
    make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One connection has read that one of two children has ended, and writes that while the other ends in a second."""
    one, two = (make_job(parent="parent", status="in_progress") for _ in range(2))
    with monkeypatch.context() as patched:
        patched.setattr(children, "moved", lambda *_, **__: None)
        one.mark_completed()
    has_read, has_ended, shares = threading.Event(), threading.Event(), children.shares

    def slow(*arguments: Any) -> Any:
        found = shares(*arguments)
        if threading.current_thread() is reader:
            has_read.set()
            with connection.cursor() as cursor:
                while not has_ended.is_set():
                    cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
                    if cursor.fetchone():
                        break
        return found

    def read() -> None:
        try:
            children.roll_up(["parent"], waits=True)
        finally:
            connections.close_all()

    monkeypatch.setattr(children, "shares", slow)
    reader = threading.Thread(target=read)
    reader.start()
    assert has_read.wait(10)
    two.mark_completed()
    has_ended.set()
    reader.join()
    shown = JobEvent.objects.filter(job_id="parent", kind="tick").order_by("seq").values_list("progress", flat=True)
    assert list(shown)[-2:] == [50, 100]
    assert row("parent")["progress"] == 100


@pytest.mark.postgres
@pytest.mark.usefixtures("parent")
def test_race__a_parent_that_is_held_keeps_no_child_from_ending_and_is_told_later(
    make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "LOCK_MILLISECONDS", 20)
    child = make_job(parent="parent", status="in_progress")
    children.soon.finish()
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            ProcessingJob.objects.select_for_update().get(pk="parent")
            is_held.set()
            is_over.wait(10)
        connections.close_all()

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_held.wait(10)
    child.mark_completed()
    assert row(child.job_id)["status"] == "completed"
    assert row("parent")["progress"] == 0
    is_over.set()
    holder.join()
    assert settled() == 100


def test_look__fails_while_the_database_is_away_and_is_repeated(
    make_job: Make, parent: ProcessingJobLifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "LOOK_SECONDS", 0.01)
    child = make_job(parent=parent, status="in_progress")
    roll_up, failures = children.roll_up, iter([KeyError("first"), KeyError("second")])

    def failing(*arguments: Any, **options: Any) -> list[str]:
        for error in failures:
            raise error
        return roll_up(*arguments, **options)

    monkeypatch.setattr(children, "roll_up", failing)
    child.mark_progress(30)
    while row("parent")["progress"] != 30:
        pass
    assert_whole("parent")


def test_reporter__of_the_parent_looks_for_what_nobody_told(make_job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wrote the child died before it could tell."""
    make_job("parent")
    with Reporter("parent") as report:
        one, _ = report.child(), report.child()
        children.soon.finish()
        assert row("parent")["metadata"]["child_jobs"] == 2
        with monkeypatch.context() as patched:
            patched.setattr(children, "moved", lambda *_, **__: None)
            one.mark_started()
            one.mark_completed()
        while row("parent")["progress"] != 50:
            pass


# Cancelled, deleted


def test_cancel__of_a_parent_asks_its_children_in_the_same_name(make_job: Make, parent: ProcessingJobLifecycle) -> None:
    waiting, running = make_job("waiting", parent=parent), make_job("running", parent=parent, status="in_progress")
    ended = make_job("ended", parent=parent, status="completed")
    below = make_job("below", parent=running, status="in_progress")
    ProcessingJobLifecycle("parent").request_cancel("Too slow", by=Actor.command("stop"))
    assert [row(job.job_id)["status"] for job in (waiting, ended)] == ["cancelled", "completed"]
    assert all(row(job.job_id)["cancel_requested_at"] for job in (parent, running, below))
    kept = JobAction.objects.order_by("job_id").values_list("job_id", "actor", "detail")
    assert list(kept) == [(job_id, "stop", "Too slow") for job_id in ("below", "parent", "running", "waiting")]


def test_cancel__asked_again_asks_those_who_were_not_reached(make_job: Make, parent: ProcessingJobLifecycle) -> None:
    child = make_job("child", parent=parent, status="in_progress")
    ProcessingJob.objects.filter(pk="child").update(parent=None)
    ProcessingJobLifecycle("parent").request_cancel()
    ProcessingJob.objects.filter(pk="child").update(parent="parent")
    assert row(child.job_id)["cancel_requested_at"] is None
    ProcessingJobLifecycle("parent").request_cancel()
    assert row(child.job_id)["cancel_requested_at"]


def test_cancel__that_is_rolled_back_asks_nobody(make_job: Make, parent: ProcessingJobLifecycle) -> None:
    make_job("child", parent=parent, status="in_progress")
    with transaction.atomic():
        ProcessingJobLifecycle("parent").request_cancel()
        assert row("child")["cancel_requested_at"]
        transaction.set_rollback(True)
    assert row("child")["cancel_requested_at"] is None


@pytest.mark.parametrize("status", ["pending", "in_progress"])
def test_cancel__a_child_that_is_made_meanwhile_is_asked_too(
    make_job: Make, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    make_job("parent", status=status)
    parent_of_new = family.parent_of_new

    def then_cancelled(above: Any) -> ProcessingJob:
        found: ProcessingJob = parent_of_new(above)
        ProcessingJobLifecycle("parent").request_cancel()
        return found

    monkeypatch.setattr(family, "parent_of_new", then_cancelled)
    child = make_job(parent="parent")
    assert row(child.job_id)["status"] == "cancelled"


@pytest.fixture
def _family(make_job: Make, parent: ProcessingJobLifecycle) -> None:
    make_job("child", parent=parent, name="A part")
    make_job("other")


@pytest.mark.usefixtures("_family")
def test_delete__of_a_parent_leaves_its_children() -> None:
    ProcessingJobLifecycle("parent").delete()
    assert sorted(ProcessingJob.objects.values_list("pk", flat=True)) == ["child", "other"]
    assert ">parent<" not in page(staff("view"), detail("child"))


@pytest.mark.usefixtures("_family")
def test_delete__of_a_child_leaves_its_parent_which_counts_it_no_more(make_job: Make) -> None:
    make_job("done", parent="parent", status="completed")
    assert settled() == 50
    ProcessingJobLifecycle("child").delete()
    children.roll_up(["parent"])
    assert settled() == 100
    ProcessingJobLifecycle("done").delete()
    children.roll_up(["parent"])
    assert "child_jobs" not in row("parent")["metadata"]


# In the admin


@pytest.mark.usefixtures("_family")
def test_admin__shows_the_way_up_and_down_and_finds_children_by_their_parent() -> None:
    client = staff("view")
    assert detail("parent") in page(client, detail("child"))
    assert f"{LIST}?parent__exact=parent" in page(client, detail("parent"))
    assert LIST + "?parent__exact" not in page(client, detail("other"))
    for query in ("parent__exact=parent", "q=parent"):
        text = page(client, f"{LIST}?{query}")
        assert detail("child") in text
        assert detail("other") not in text

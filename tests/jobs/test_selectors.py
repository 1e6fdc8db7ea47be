"""Reads of jobs and their log."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs import selectors
from jobs.access import AccessPolicy
from jobs.models import JobEvent, ProcessingJob
from jobs.selectors import Head, Span
from tests.jobs.bad_rows import UNREADABLE, of_each_kind, spoil

pytestmark = pytest.mark.django_db


def test_get_visible_job__hidden_and_unknown_are_the_same(make_job: Any) -> None:
    make_job("hidden")
    make_job("public", public=True)
    assert selectors.get_visible_job(AnonymousUser(), "hidden") is None
    assert selectors.get_visible_job(AnonymousUser(), "unknown") is None
    assert selectors.get_visible_job(AnonymousUser(), "public") is not None


def test_recent_jobs__newest_first_and_only_the_visible(make_job: Any) -> None:
    owner = User.objects.create(username="ann")
    for name, fields in {"a": {"public": True}, "b": {}, "c": {"owner": owner}, "d": {"public": True}}.items():
        make_job(name, **fields)
    assert [job.pk for job in selectors.recent_jobs(owner, 10)] == ["d", "c", "a"]
    assert [job.pk for job in selectors.recent_jobs(owner, 2)] == ["d", "c"]
    assert [job.pk for job in selectors.recent_jobs(owner, 10, own=True)] == ["c"]


def _talk(make_job: Any) -> tuple[Any, Span]:
    """Make a job with ten lines, at 2 to 11: none, 3, 10, 3, 20, 3, 30, … characters, of which those of three are €."""
    job = make_job()
    for number in range(5):
        job.log("x" * 10 * number)
        job.log("€€€")
    return job, Span(job.job.epoch, 0, 11)


def test_last_begin__before_those_that_fit(make_job: Any) -> None:
    job, whole = _talk(make_job)

    def found(span: Span = whole, most: int = 100, size: int = 10_000) -> int | None:
        return selectors.last_begin(job.job_id, span, "log", most, size)

    assert found() is None
    assert found(most=10) is None
    assert found(most=3) == 8
    assert found(size=48) == 10
    assert found(size=49) == 9
    assert found(Span(job.job.epoch, 3, 7), most=2) == 5
    assert found(Span(job.job.epoch, 3, 7), most=4) is None
    assert found(Span("another", 0, 11), most=3) is None
    assert selectors.last_begin(job.job_id, whole, "output", 0, 0) is None


def test_first_events__in_order_within_their_bounds_and_up_to_where_they_are_all(make_job: Any) -> None:
    job, whole = _talk(make_job)

    def found(span: Span = whole, most: int = 100, size: int = 10_000) -> tuple[list[int], int]:
        events, upto = selectors.first_events(job.job_id, span, "log", most, size)
        return [event.seq for event in events], upto

    assert found() == (list(range(2, 12)), 11)
    assert found(whole._replace(upto=50), most=10) == (list(range(2, 12)), 50)
    assert found(most=3) == ([2, 3, 4], 4)
    assert found(size=18) == ([2, 3], 3)
    assert found(size=19) == ([2, 3, 4], 4)
    assert found(Span(job.job.epoch, 3, 7)) == ([4, 5, 6, 7], 7)
    assert found(Span(job.job.epoch, 9, 11), size=1) == ([10], 10), "one of them, however long"
    assert found(Span("another", 0, 11)) == ([], 11)


@pytest.mark.django_db(transaction=True)
def test_events_of_a_kind__an_index_finds_them_and_a_tick_has_no_entry_in_it(make_job: Any) -> None:
    job = make_job()
    first = JobEvent.objects.get()
    for seq in range(2, 2_002):
        first.pk, first.seq, first.kind = None, seq, "log" if seq % 100 == 0 else "tick"
        first.save(force_insert=True)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # else what the planner knows is what another test has left
    with CaptureQueriesContext(connection) as asked:
        selectors.last_begin(job.job_id, Span(job.job.epoch, 0, 9), "log", 1_000, 1_000_000)
        selectors.first_events(job.job_id, Span(job.job.epoch, 0, 9), "log", 500, 1_000_000)
    assert len(asked.captured_queries) == 3
    with connection.cursor() as cursor:
        for query in asked.captured_queries:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
            steps = [step[3] for step in cursor.fetchall()]
            assert any("USING INDEX event_log_lines (job_id=? AND seq>? AND seq<?)" in step for step in steps), steps
            assert not any("B-TREE" in step for step in steps), "they are not sorted"
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = 'event_log_lines'")
        (statement,) = cursor.fetchone()
    assert statement.endswith("WHERE \"kind\" = 'log'")


def test_recent_jobs__a_job_that_is_seen_in_two_ways_is_there_once(make_job: Any) -> None:
    owner = User.objects.create(username="ann")
    make_job("a", public=True, owner=owner)
    make_job("b", owner=owner)
    make_job("c", public=True)
    assert [job.pk for job in selectors.recent_jobs(owner, 10)] == ["c", "b", "a"]
    assert [job.pk for job in selectors.recent_jobs(owner, 2)] == ["c", "b"]


def test_recent_jobs__each_way_has_an_index(make_job: Any) -> None:
    """Else whoever may see few makes the database look at all of them."""
    owner = User.objects.create(username="ann")
    with CaptureQueriesContext(connection) as asked:
        selectors.recent_jobs(owner, 10)
    plans = []
    with connection.cursor() as cursor:
        for query in asked.captured_queries:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
            plans.append([step[3] for step in cursor.fetchall()])
    assert plans == [
        ["SCAN jobs_processingjob USING INDEX job_public_created"],
        ["SEARCH jobs_processingjob USING INDEX job_owner_created (owner_id=?)"],
    ]


def test_recent_jobs__by_a_policy_of_another_kind(make_job: Any, settings: Any) -> None:
    settings.JOBS_ACCESS_POLICY = "tests.jobs.test_selectors.NamesOnly"
    make_job("a", name="a name")
    make_job("b", public=True)
    assert [job.pk for job in selectors.recent_jobs(AnonymousUser(), 10)] == ["a"]


class NamesOnly(AccessPolicy):
    """Shows what has a name."""

    def visible(self, user: Any, jobs: Any) -> Any:
        return jobs.exclude(name="")


def test_recent_jobs__a_job_of_nobody_is_not_the_anonymous_users_own(make_job: Any) -> None:
    make_job(public=True)
    assert selectors.recent_jobs(AnonymousUser(), 10, own=True) == []


@of_each_kind
@pytest.mark.parametrize("who", ["anonymous", "owner", "superuser"])
def test_recent_jobs__a_bad_row_harms_itself_only(make_job: Any, bad: dict[str, Any], who: str) -> None:
    owner = User.objects.create(username="ann", is_staff=True, is_superuser=who == "superuser")
    for name in ("a", "bad", "c"):
        make_job(name, public=True, owner=owner)
    spoil("bad", bad)
    user = AnonymousUser() if who == "anonymous" else owner
    seen = ["c", "a"] if bad in UNREADABLE.values() else ["c", "bad", "a"]
    assert [job.pk for job in selectors.recent_jobs(user, 10)] == seen
    assert [job.pk for job in selectors.recent_jobs(owner, 10, own=True)] == seen
    assert (selectors.get_visible_job(user, "bad") is None) is (bad in UNREADABLE.values())


def test_recent_jobs__a_database_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_: Any) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr("django.db.models.query.QuerySet._fetch_all", locked)
    with pytest.raises(OperationalError):
        selectors.recent_jobs(AnonymousUser(), 10)


def test_get_jobs__those_that_exist_however_many(
    make_job: Any, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(selectors, "MAX_IDS", 1)
    make_job("a")
    make_job("b")
    with django_assert_num_queries(3):
        found = selectors.get_jobs(["a", "b", "c"])
    assert {job.pk for job in found} == {"a", "b"}


def test_jobs_changed_since__oldest_first(make_job: Any) -> None:
    first, second = make_job("a"), make_job("b")
    first.mark_started()
    since = ProcessingJob.objects.get(pk="b").status_changed_at
    changed = selectors.jobs_changed_since(since)
    assert [change[:3] for change in changed] == [
        ("b", second.job.epoch, "pending"),
        ("a", first.job.epoch, "in_progress"),
    ]
    assert selectors.jobs_changed_since(changed[-1][3] + timedelta(microseconds=1)) == []


def test_jobs_changed_since__ticks_and_log_lines_are_no_change(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    after = lifecycle.job.status_changed_at + timedelta(microseconds=1)
    lifecycle.mark_progress(50)
    lifecycle.log("line")
    assert selectors.jobs_changed_since(after) == []


def test_heads__of_more_jobs_than_one_query_takes(
    make_job: Any, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(selectors, "most_ids", lambda _: 2)
    owner = User.objects.create(username="ann")
    made = {name: make_job(name, owner=owner if name == "b" else None, public=name == "c").job for name in "abc"}
    with django_assert_num_queries(2):
        found = selectors.heads(["a", "b", "c", "unknown"])
    assert found == {
        name: Head(job.epoch, 1, job.updated_at, owner.pk if name == "b" else None, name == "c", "")
        for name, job in made.items()
    }


def seqs(events: dict[str, list[JobEvent]]) -> dict[str, list[int]]:
    return {job_id: [event.seq for event in of_job] for job_id, of_job in events.items()}


def test_events_between__is_open_below_and_closed_above(make_job: Any) -> None:
    epoch = make_job("a", status="completed").job.epoch
    assert seqs(selectors.events_between({"a": Span(epoch, 1, 2)})) == {"a": [2]}
    assert seqs(selectors.events_between({"a": Span(epoch, 0, 99)})) == {"a": [1, 2, 3]}
    assert seqs(selectors.events_between({"a": Span("another", 0, 99)})) == {"a": []}
    assert selectors.events_between({}) == {}


def test_events_between__of_more_jobs_than_one_query_takes(
    make_job: Any, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(selectors, "MAX_SPANS", 2)
    spans = {name: Span(make_job(name, status="completed").job.epoch, 1, 3) for name in "abc"}
    with django_assert_num_queries(2):
        found = selectors.events_between(spans)
    assert seqs(found) == {"a": [2, 3], "b": [2, 3], "c": [2, 3]}


def test_events_between__as_many_jobs_as_one_query_takes(make_job: Any) -> None:
    """SQLite nests conditions only so deep."""
    epoch = make_job("a").job.epoch
    spans = {f"other-{number}": Span("e", 0, 9) for number in range(selectors.MAX_SPANS - 1)}
    assert seqs(selectors.events_between({**spans, "a": Span(epoch, 0, 1)}))["a"] == [1]


def test_events_between__of_what_lies_below_the_floor_nothing_even_if_it_is_there(make_job: Any) -> None:
    epoch = make_job("a", status="completed").job.epoch
    ProcessingJob.objects.update(floor=2)
    assert seqs(selectors.events_between({"a": Span(epoch, 0, 3)})) == {"a": [3]}
    ProcessingJob.objects.update(floor=3)
    assert seqs(selectors.events_between({"a": Span(epoch, 0, 3)})) == {"a": []}


def test_events_between__reads_no_more_of_a_log_than_the_span(make_job: Any) -> None:
    """However long the log is: each span is a range of the index, which begins and ends with it."""
    spans = {job_id: Span(make_job(job_id).job.epoch, 0, 1) for job_id in "abc"}
    with CaptureQueriesContext(connection) as queries:
        selectors.events_between(spans)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {queries[0]['sql']}")
        plan = " ".join(row[3] for row in cursor.fetchall())
    assert plan.count("(job_id=? AND seq>? AND seq<?)") == 3
    assert "SCAN" not in plan


def test_events_between__pruned_events_are_missing_not_made_up(make_job: Any) -> None:
    epoch = make_job("a", status="completed").job.epoch
    JobEvent.objects.filter(job_id="a", seq=2).delete()
    assert seqs(selectors.events_between({"a": Span(epoch, 0, 3)})) == {"a": [1, 3]}


@pytest.mark.parametrize("way", ["all", "own", "public", "changed", "count"])
def test_queries__leave_out_deleted_jobs_and_use_an_index(make_job: Any, way: str) -> None:
    """The planner is free to use another index once there is another condition."""
    jobs = ProcessingJob.objects.all()
    found = {
        "all": jobs.order_by("-created_at")[:50],
        "own": jobs.filter(owner_id=1).order_by("-created_at")[:50],
        "public": jobs.filter(public=True).order_by("-created_at")[:50],
        "changed": jobs.filter(status_changed_at__gte=timezone.now()).order_by("status_changed_at"),
        "count": jobs.order_by("-created_at").values("created_at"),
    }
    index = {"own": "job_owner_created", "public": "job_public_created", "changed": "jobs_processingjob_status_chan"}
    plan = found[way].explain()
    assert index.get(way, "job_created") in plan
    assert "ORDER BY" not in plan

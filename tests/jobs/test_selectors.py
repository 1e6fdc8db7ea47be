"""Reads of jobs and their log."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User

from jobs import selectors
from jobs.models import JobEvent, ProcessingJob

pytestmark = pytest.mark.django_db


def test_get_job__or_none(make_job: Any) -> None:
    make_job("job-1")
    found = selectors.get_job("job-1")
    assert found is not None
    assert found.pk == "job-1"
    assert selectors.get_job("job-2") is None


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


def test_recent_jobs__a_job_of_nobody_is_not_the_anonymous_users_own(make_job: Any) -> None:
    make_job(public=True)
    assert selectors.recent_jobs(AnonymousUser(), 10, own=True) == []


def test_get_jobs__those_that_exist(make_job: Any) -> None:
    make_job("a")
    make_job("b")
    assert {job.pk for job in selectors.get_jobs(["a", "b", "c"])} == {"a", "b"}


def test_jobs_changed_since__oldest_first(make_job: Any) -> None:
    first, second = make_job("a"), make_job("b")
    first.mark_started()
    since = ProcessingJob.objects.get(pk="b").status_changed_at
    changed = selectors.jobs_changed_since(since)
    assert [(job_id, epoch) for job_id, epoch, _ in changed] == [("b", second.job.epoch), ("a", first.job.epoch)]
    assert selectors.jobs_changed_since(changed[-1][2] + timedelta(microseconds=1)) == []


def test_jobs_changed_since__ticks_and_log_lines_are_no_change(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    after = lifecycle.job.status_changed_at + timedelta(microseconds=1)
    lifecycle.mark_progress(50)
    lifecycle.log("line")
    assert selectors.jobs_changed_since(after) == []


def test_positions__of_more_jobs_than_one_query_takes(
    make_job: Any, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(selectors, "MAX_IDS", 2)
    made = {name: make_job(name).job.epoch for name in "abc"}
    with django_assert_num_queries(2):
        found = selectors.positions(["a", "b", "c", "unknown"])
    assert found == {name: (epoch, 1) for name, epoch in made.items()}


def test_events_after__each_job_in_order_from_its_cursor(make_job: Any) -> None:
    one, two = make_job("a", status="in_progress"), make_job("b", status="in_progress")
    one.mark_progress(10)
    cursors = {"a": (one.job.epoch, 1), "b": (two.job.epoch, 0)}
    found = selectors.events_after(cursors, 10)
    assert [(event.job_id, event.seq) for event in found] == [("a", 2), ("a", 3), ("b", 1), ("b", 2)]
    assert found[0].epoch == one.job.epoch
    assert len(selectors.events_after(cursors, 3)) == 3


def test_events_after__another_stream_gives_nothing(make_job: Any) -> None:
    make_job("a", status="in_progress")
    assert selectors.events_after({"a": ("another", 0)}, 10) == []
    assert selectors.events_after({}, 10) == []


def test_events_between__is_open_below_and_closed_above(make_job: Any) -> None:
    lifecycle = make_job("a", status="completed")
    epoch = lifecycle.job.epoch
    assert [event.seq for event in selectors.events_between("a", epoch, 1, 2)] == [2]
    assert [event.seq for event in selectors.events_between("a", epoch, 0, 99)] == [1, 2, 3]
    assert selectors.events_between("a", "another", 0, 99) == []


def test_events_between__pruned_events_are_missing_not_made_up(make_job: Any) -> None:
    lifecycle = make_job("a", status="completed")
    JobEvent.objects.filter(job_id="a", seq=2).delete()
    assert [event.seq for event in selectors.events_between("a", lifecycle.job.epoch, 0, 3)] == [1, 3]

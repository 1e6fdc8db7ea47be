"""Who did it: kept with the change, or not at all."""

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from jobs.actions import Action
from jobs.actors import Actor, actor_of
from jobs.exceptions import InvalidTransition
from jobs.models import JobAction, ProcessingJob
from jobs.states import ActionKind, ActorKind
from tests.jobs.cuts import cut
from tests.jobs.records import assert_whole, log, row

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ann(db: None) -> User:
    return User.objects.create_user("ann")


def kept(*fields: str) -> list[tuple[Any, ...]]:
    return list(JobAction.objects.order_by("id").values_list(*fields))


def test_actor__each_kind(ann: User) -> None:
    assert actor_of(ann) == Actor(ActorKind.USER, "ann", ann.pk)
    assert actor_of(None) == Actor(ActorKind.SYSTEM)
    assert actor_of(Actor.command("prune_jobs")) == (ActorKind.COMMAND, "prune_jobs", None)
    assert Actor.token("a1b2", ann) == (ActorKind.TOKEN, "a1b2", ann.pk)
    assert Actor.token("a1b2").user_id is None
    assert Actor.system("pruning").name == "pruning"
    assert len(Actor.command("x\x00" * 150).name) == 255
    assert "\x00" not in Actor.command("x\x00").name


def test_actions__carry_who_what_and_when(make_job: Any, ann: User) -> None:
    lifecycle = make_job(status="in_progress")
    lifecycle.request_cancel("too slow", by=ann)
    lifecycle.mark_cancelled(by=Actor.command("stop_all"))
    lifecycle.retry(by=Actor.token("a1b2", ann))
    lifecycle.edit(public=True, owner=ann, name="mine")
    assert kept("action", "kind", "actor", "user", "seq", "detail") == [
        ("cancel", "user", "ann", ann.pk, 3, "too slow"),
        ("cancel", "command", "stop_all", None, 4, ""),
        ("retry", "token", "a1b2", ann.pk, 5, ""),
        ("edit", "system", "", None, 6, "name: '' → 'mine'; owner: nobody → 'ann'; public: no → yes"),
    ]
    times = {event["seq"]: event["timestamp"] for event in log(lifecycle.job_id)}
    assert all(times[seq] == time for seq, time in kept("seq", "time"))


def test_actions__the_workers_own_reports_are_none(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    lifecycle.mark_progress(5)
    lifecycle.log("a line")
    lifecycle.mark_cancelled()
    assert kept("pk") == []


def test_actions__outlive_the_job_and_the_user(make_job: Any, ann: User) -> None:
    lifecycle = make_job(owner=ann)
    lifecycle.request_cancel(by=ann)
    ann.delete()
    ProcessingJob.objects.all().delete()
    assert kept("job_id", "actor", "user") == [(lifecycle.job_id, "ann", None)]


def test_actions__what_changes_nothing_or_is_refused_is_none(make_job: Any, ann: User) -> None:
    running, done = make_job(status="in_progress"), make_job(status="completed")
    running.request_cancel(by=ann)
    running.request_cancel(by=ann)
    with pytest.raises(InvalidTransition):
        done.request_cancel(by=ann)
    assert kept("job_id") == [(running.job_id,)]


def test_actions__go_with_their_transaction(make_job: Any, ann: User) -> None:
    lifecycle = make_job()
    with transaction.atomic():
        lifecycle.request_cancel(by=ann)
        transaction.set_rollback(True)
    assert (kept("pk"), row(lifecycle.job_id)["status"]) == ([], "pending")
    with transaction.atomic():
        lifecycle.request_cancel(by=ann)
    assert kept("actor") == [("ann",)]


def test_actions__that_cannot_be_kept_undo_the_change(make_job: Any, ann: User, monkeypatch: Any) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    lifecycle = make_job()
    monkeypatch.setattr(Action, "record", fail)
    with pytest.raises(ZeroDivisionError):
        lifecycle.request_cancel(by=ann)
    assert row(lifecycle.job_id)["status"] == "pending"


def test_actions__by_a_user_who_was_deleted_meanwhile_are_done(make_job: Any, ann: User) -> None:
    lifecycle = make_job()
    User.objects.filter(pk=ann.pk).delete()
    lifecycle.request_cancel(by=ann)
    assert kept("actor") == [("ann",)]
    assert row(lifecycle.job_id)["status"] == "cancelled"


def test_actions__of_a_deletion_to_come(make_job: Any, ann: User) -> None:
    job = make_job().job
    with transaction.atomic():
        Action.of(ActionKind.DELETE, ann).record(connection, job, job, job.updated_at)
    assert kept("action", "job_id", "seq", "detail") == [("delete", job.pk, 1, "")]


@pytest.mark.postgres
@pytest.mark.usefixtures("_age")
@pytest.mark.parametrize("moment", ["before", "after", "at commit", "after commit"])
def test_actions__whose_commit_is_unclear_are_kept_once(make_job: Any, ann: User, moment: str) -> None:
    lifecycle = make_job()
    with cut(moment, word="" if "commit" in moment else "INSERT"):
        lifecycle.request_cancel(by=ann)
    assert kept("actor", "seq") == [("ann", 2)]
    assert_whole(lifecycle.job_id)


async def test_actions__of_asynchronous_callers(make_job: Any) -> None:
    ann = await User.objects.acreate(username="ann")
    lifecycle = await asyncio.to_thread(make_job)
    await lifecycle.arequest_cancel(by=ann)
    assert await JobAction.objects.filter(actor="ann").acount() == 1


def test_progress__takes_no_query_more(make_job: Any) -> None:
    lifecycle = make_job(status="in_progress")
    with CaptureQueriesContext(connection) as queries:
        lifecycle.mark_progress(5)
    assert not [query for query in queries if "action" in query["sql"]]

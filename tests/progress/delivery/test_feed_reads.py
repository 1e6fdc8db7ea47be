"""Of whom the access policy is asked when jobs have changed: once of all who see the same, and of each other alone."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.access import AccessPolicy
from progress.delivery.feed_reads import read_jobs
from progress.delivery.feed_watcher import FeedWatcher
from progress.identity.grant import Grant
from progress.identity.identity import ANYBODY, Identity, Proof

pytestmark = pytest.mark.django_db

asked: list[Any] = []


class Noting(AccessPolicy):
    def may_view(self, user: Any, job: Any) -> bool:
        asked.append(user)
        return super().may_view(user, job)


@pytest.fixture(autouse=True)
def noting(settings):
    settings.JOBS_ACCESS_POLICY = f"{__name__}.Noting"
    asked.clear()


def a_watcher(identity: Identity, name: Any = "all") -> FeedWatcher:
    connection: Any = SimpleNamespace(identity=identity)
    return FeedWatcher(connection, name)


def seen(watchers: list[FeedWatcher], *job_ids: str) -> list[list[str]]:
    return [view for view, _ in read_jobs([watcher.viewer for watcher in watchers], job_ids)[3]]


def a_proof(user: User, **more: Any) -> Proof:
    return Proof("session", user.pk, user.password, **more)


def test_read__of_all_who_have_no_user_the_policy_is_asked_once(make_job):
    make_job("public", public=True)
    make_job("private")
    watchers = [a_watcher(ANYBODY._replace(user=type(ANYBODY.user)())) for _ in range(50)]
    assert seen(watchers, "public", "private") == [["public"]] * 50
    assert len(asked) == 2


def test_read__of_each_user_and_feed_the_policy_is_asked_by_itself(make_job):
    ann, ben = User.objects.create_user("ann"), User.objects.create_user("ben")
    make_job("of-ann", owner=ann)
    make_job("public", public=True)
    watchers = [
        a_watcher(Identity(ann, None, a_proof(ann)), "mine"),
        a_watcher(Identity(ann, None, a_proof(ann))),
        a_watcher(Identity(ben, None, a_proof(ben))),
        a_watcher(ANYBODY),
    ]
    assert seen(watchers, "of-ann", "public") == [["of-ann"], ["of-ann", "public"], ["public"], ["public"]]


def test_read__of_a_user_who_was_read_anew_nothing_is_answered_for_an_older_one(make_job):
    """Django keeps the permissions of a user that it has read once, for ever."""
    make_job("private")
    before = User.objects.create_user("ann", is_staff=True, is_superuser=True)
    User.objects.update(is_superuser=False)
    now = User.objects.get()
    watchers = [a_watcher(Identity(user, None, a_proof(before))) for user in (before, now)]
    assert seen(watchers, "private") == [["private"], []]


def test_read__tokens_of_one_user_that_name_other_jobs_see_others(make_job):
    ann = User.objects.create_user("ann")
    for job_id in ("one", "two"):
        make_job(job_id, owner=ann)
    grants = [Grant(has_user=True, jobs=frozenset({job_id}), feed="all") for job_id in ("one", "two")]
    watchers = [a_watcher(Identity(ann, None, a_proof(ann, grant=grant))) for grant in grants]
    assert seen(watchers, "one", "two") == [["one"], ["two"]]

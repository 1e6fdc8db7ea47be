"""What decides what a client may see: the policy on its user, and what its token names."""

import random
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs.access import AccessPolicy
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from progress.identity.grant import Grant
from progress.identity.rights import Rights, may_view, recent, viewable

pytestmark = pytest.mark.django_db

NOBODY = AnonymousUser()


def rights(user: User | AnonymousUser = NOBODY, **watch: Any) -> Rights:
    return Rights(user, Grant.of(watch or None, has_user=user.is_authenticated) if watch else None)


@pytest.fixture
def ann(make_job: Any) -> User:
    """Of whom some of the jobs are."""
    ann = User.objects.create_user("ann")
    for job_id, owner, public in [
        ("mine-1", ann, False),
        ("mine-2", ann, False),
        ("public-1", None, True),
        ("theirs-1", None, False),
        ("Theirs-1", None, False),
    ]:
        make_job(job_id, owner=owner, public=public)
    return ann


EVERY = {"mine-1", "mine-2", "public-1", "theirs-1", "Theirs-1"}


def cases(ann: User) -> list[tuple[Rights, set[str]]]:
    return [
        (rights(), {"public-1"}),
        (rights(ann), {"mine-1", "mine-2", "public-1"}),
        (rights(ann, jobs=["mine-1", "theirs-1"]), {"mine-1"}),
        (rights(ann, jobs=["mine-*"]), {"mine-1", "mine-2"}),
        (rights(ann, feed="mine"), {"mine-1", "mine-2", "public-1"}),
        (rights(jobs=["theirs-1"]), {"theirs-1"}),
        (rights(jobs=["theirs-*", "no-such-job"]), {"theirs-1"}),
        (rights(jobs=["no-such-job"]), set()),
    ]


def test_may_view__by_policy_and_grant(ann: User) -> None:
    for asked, seen in cases(ann):
        assert {job.pk for job in ProcessingJob.objects.all() if may_view(asked, job)} == seen, asked
        assert not may_view(asked, None)


def test_viewable__asks_for_all_at_once_and_mixes_up_none(ann: User) -> None:
    """Two grants on one policy answer, and two grants of nobody."""
    expected = dict(cases(ann))
    ids = {*EVERY, "no-such-job"}
    with CaptureQueriesContext(connection) as queries:
        found = viewable({asked: (asked, ids) for asked in expected})
    assert {asked: seen for asked, (seen, _) in found.items()} == expected
    assert len(queries) == 2, "the facts of the policy, and which of the named jobs there are"


def test_recent__is_a_feed_of_what_is_named(ann: User) -> None:
    def shown(asked: Rights, feed: Any) -> list[str]:
        return [job.pk for job in recent(asked, feed, 10)]

    assert shown(rights(ann, jobs=["mine-2", "theirs-1", "pub*"]), "all") == ["public-1", "mine-2"]
    assert shown(rights(ann, jobs=["mine-2", "public-1"]), "mine") == ["mine-2"]
    assert shown(rights(ann, feed="mine"), "all") == []
    assert shown(rights(jobs=["theirs-*", "mine-1"], feed="all"), "all") == ["theirs-1", "mine-1"]
    assert shown(rights(jobs=["theirs-*"], feed="all"), "mine") == []
    assert shown(rights(jobs=["theirs-*"]), "all") == []
    assert [job.pk for job in recent(rights(jobs=["theirs-*", "mine-1"], feed="all"), "all", 1)] == ["theirs-1"]


class Undecided(AccessPolicy):
    def may_view(self, user: Any, job: Any) -> bool:
        raise RuntimeError("not now")


def test_viewable__a_policy_that_fails_harms_no_token_that_stands_alone(ann: User, settings: Any) -> None:
    settings.JOBS_ACCESS_POLICY = f"{__name__}.Undecided"
    alone, of_ann = rights(jobs=["theirs-1"]), rights(ann, jobs=["mine-1"])
    found = viewable({asked: (asked, EVERY) for asked in (alone, of_ann)})
    assert found == {alone: ({"theirs-1"}, set()), of_ann: (set(), {"mine-1"})}


def a_world(seed: random.Random) -> tuple[list[ProcessingJob], list[User | AnonymousUser]]:
    """Jobs of all kinds, with names of which some are the beginnings of others, and users of all kinds."""
    users = [User.objects.create_user("ann"), User.objects.create_user("bob"), User.objects.create_superuser("root")]
    names = ["a", "a-", "a-1", "A-1", "a-10", "b", "b-1", "B", "a_1", "ab"]
    for name in names:
        ProcessingJobLifecycle.create(name, owner=seed.choice([*users, None]), public=seed.random() < 0.3)
    return list(ProcessingJob.objects.all()), [*users, NOBODY]


def a_grant(seed: random.Random, *, has_user: bool) -> Grant | None:
    if has_user and seed.random() < 0.2:
        return None
    parts = "aAb", ("", "-", "-1", "_", "b", "-10"), ("", "*")
    names = ["".join(map(seed.choice, parts)) for _ in range(3)]
    feed = seed.choice([None, "all", "mine"] if has_user else [None, "all"])
    return Grant.of({"jobs": names, **({"feed": feed} if feed else {})}, has_user=has_user)


def is_seen(rights: Rights, job: ProcessingJob) -> bool:
    """The model: who may see a job, in as few words as that takes."""
    user, grant = rights
    is_named = grant is None or any(
        job.pk.startswith(name[:-1]) if name.endswith("*") else job.pk == name for name in grant.jobs or ()
    )
    is_theirs = job.public or (user.pk is not None and job.owner_id == user.pk) or user.is_superuser
    return is_named and (is_theirs or (grant is not None and not grant.has_user))


def test_rights__agree_with_a_model_in_all_their_forms() -> None:
    """Thousands of combinations of user, job and token: one by one, all at once, and as a feed."""
    seed = random.Random(4711)
    jobs, users = a_world(seed)
    asked = []
    for user in users:
        asked += [Rights(user, a_grant(seed, has_user=user.is_authenticated)) for _ in range(40)]
    asked += [Rights(NOBODY), *(Rights(user) for user in users)]
    ids = {*(job.pk for job in jobs), "no-such-job"}
    together = viewable({rights: (rights, ids) for rights in asked})
    for rights in asked:
        expected = {job.pk for job in jobs if is_seen(rights, job)}
        assert {job.pk for job in jobs if may_view(rights, job)} == expected, rights
        assert together[rights] == (expected, set()), rights
        own = {job.pk for job in jobs if job.owner_id is not None and job.owner_id == rights.user.pk}
        for feed, shown in (("all", expected), ("mine", expected & own)):
            is_admitted = rights.admits_feed(feed)  # type: ignore[arg-type]
            found = {job.pk for job in recent(rights, feed, 100)}  # type: ignore[arg-type]
            assert found == (shown if is_admitted else set()), (rights, feed)

"""Who may see which job; both methods of the policy must say the same."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.db import OperationalError, ProgrammingError
from django.test import override_settings

from jobs.access import AccessPolicy, check_policy, newest, policy, viewable
from jobs.models import ProcessingJob

pytestmark = pytest.mark.django_db

# Which jobs each user sees.
SEEN = {
    "anonymous": {"public", "owned-public"},
    "owner": {"public", "owned-public", "owned"},
    "other": {"public", "owned-public"},
    "staff": {"public", "owned-public"},
    "staff who may view": {"public", "owned-public", "owned", "nobody's"},
    "may view but no staff": {"public", "owned-public"},
    "superuser": {"public", "owned-public", "owned", "nobody's"},
    "inactive staff who may view": {"public", "owned-public"},
    "inactive superuser": {"public", "owned-public"},
}


@pytest.fixture
def users() -> dict[str, Any]:
    made: dict[str, Any] = {
        name: User.objects.create(
            username=name,
            is_staff="staff" in name and "no staff" not in name,
            is_superuser="superuser" in name,
            is_active="inactive" not in name,
        )
        for name in SEEN
        if name != "anonymous"
    }
    User.objects.filter(is_superuser=True).update(is_staff=True)
    may_view = Permission.objects.get(codename="view_processingjob")
    for name, user in made.items():
        if "may view" in name:
            user.user_permissions.add(may_view)
        user.refresh_from_db()
    return {**made, "anonymous": AnonymousUser()}


@pytest.fixture
def jobs(make_job: Any, users: dict[str, Any]) -> list[ProcessingJob]:
    owner = users["owner"]
    made = [("public", None, True), ("owned-public", owner, True), ("owned", owner, False), ("nobody's", None, False)]
    return [make_job(name=name, owner=who, public=public).job for name, who, public in made]


@pytest.mark.parametrize("name", SEEN)
def test_default_policy__its_methods_agree(name: str, users: dict[str, Any], jobs: list[ProcessingJob]) -> None:
    user = users[name]
    assert {job.name for job in jobs if policy().may_view(user, job)} == SEEN[name]
    assert {job.name for job in policy().visible(user, ProcessingJob.objects.all())} == SEEN[name]


def test_default_policy__an_owner_who_is_not_active_sees_what_anyone_sees(
    users: dict[str, Any], jobs: list[ProcessingJob]
) -> None:
    """A host may let them sign in (`AllowAllUsersModelBackend`)."""
    users["owner"].is_active = False
    seen = {job.pk for job in jobs if job.public}
    assert {job.pk for job in jobs if policy().may_view(users["owner"], job)} == seen
    assert {job.pk for job in policy().visible(users["owner"], ProcessingJob.objects.all())} == seen
    assert policy().viewable({users["owner"]: [job.pk for job in jobs]}) == {users["owner"]: seen}
    assert set(policy().newest([users["owner"]], 9, own=False)[users["owner"]]) == seen


class WithoutStaff:
    """What a user model has by ``AbstractBaseUser`` and ``PermissionsMixin`` alone."""

    pk = -1
    is_authenticated = True

    def __init__(self, *, is_superuser: bool = False, is_active: bool = True, may_view: bool = False) -> None:
        self.is_superuser, self.is_active, self._may_view = is_superuser, is_active, may_view

    def has_perm(self, _: str) -> bool:
        return self.is_active and (self.is_superuser or self._may_view)


@pytest.mark.parametrize(
    ("user", "sees_all"),
    [
        (WithoutStaff(is_superuser=True), True),
        (WithoutStaff(is_superuser=True, is_active=False), False),
        (WithoutStaff(may_view=True), False),
        (WithoutStaff(), False),
    ],
)
def test_default_policy__of_a_user_model_that_knows_no_staff(
    user: Any, sees_all: bool, jobs: list[ProcessingJob]
) -> None:
    seen = {job.name for job in jobs} if sees_all else SEEN["other"]
    every = ProcessingJob.objects.all()
    assert {job.name for job in jobs if policy().may_view(user, job)} == seen
    assert {job.name for job in policy().visible(user, every)} == seen
    assert {job.name for job in policy().recent(user, every, 10)} == seen


class Nobody(AccessPolicy):
    def may_view(self, user: Any, job: Any) -> bool:
        return False


class NoSubclass:
    def may_view(self, user: Any, job: Any) -> bool:
        return True

    def visible(self, user: Any, jobs: Any) -> Any:
        return jobs


def test_policy__is_the_sites_own() -> None:
    with override_settings(JOBS_ACCESS_POLICY=f"{__name__}.Nobody"):
        assert isinstance(policy(), Nobody)
        assert check_policy() == []


@pytest.mark.parametrize(("path", "error"), [("no.such.Policy", "jobs.E001"), (f"{__name__}.NoSubclass", "jobs.E002")])
def test_check_policy__says_what_is_wrong_at_start(path: str, error: str) -> None:
    with override_settings(JOBS_ACCESS_POLICY=path):
        (found,) = check_policy()
    assert found.id == error
    assert path in str(found.msg)


class OnlyMayView(AccessPolicy):
    def may_view(self, user: Any, job: ProcessingJob) -> bool:
        return job.name == "public"


class OnlyVisible(AccessPolicy):
    def visible(self, user: Any, jobs: Any) -> Any:
        return jobs.filter(name="public")


def test_viewable__of_many_users_agrees_with_what_each_may_view(users: Any, jobs: list[ProcessingJob]) -> None:
    wanted = {user: [job.pk for job in jobs] + ["absent"] for user in users.values()}
    for user, (seen, undecided) in viewable(wanted).items():
        assert seen == {job.pk for job in jobs if policy().may_view(user, job)}
        assert undecided == set()


@pytest.mark.parametrize("name", ["OnlyMayView", "OnlyVisible"])
def test_viewable__asks_what_a_policy_has_of_its_own(name: str, jobs: list[ProcessingJob]) -> None:
    with override_settings(JOBS_ACCESS_POLICY=f"{__name__}.{name}"):
        ((seen, _),) = viewable({AnonymousUser(): [job.pk for job in jobs]}).values()
    assert seen == {job.pk for job in jobs if job.name == "public"}


class LeavesOut(AccessPolicy):
    def viewable(self, wanted: Any) -> Any:
        return {user: list(job_ids)[:1] for user, job_ids in wanted.items() if user.pk}


def test_viewable__of_a_policy_that_names_nobody_who_sees_nothing(users: Any, jobs: list[ProcessingJob]) -> None:
    job_ids = [job.pk for job in jobs]
    with override_settings(JOBS_ACCESS_POLICY=f"{__name__}.LeavesOut"):
        found = viewable({users["owner"]: job_ids, users["anonymous"]: job_ids})
    assert found == {users["owner"]: ({job_ids[0]}, set()), users["anonymous"]: (set(), set())}


class Fails(AccessPolicy):
    asked = 0

    def viewable(self, wanted: Any) -> Any:
        type(self).asked += 1
        if any(user.pk == 7 and "job-3" in job_ids for user, job_ids in wanted.items()):
            raise ProgrammingError("no such table")
        return wanted


def test_viewable__what_a_policy_raises_on_is_found_in_few_steps() -> None:
    wanted = {User(pk=pk): [f"job-{number}" for number in range(8)] for pk in range(1, 65)}
    with override_settings(JOBS_ACCESS_POLICY=f"{__name__}.Fails"):
        found = viewable(wanted)
    assert found.pop(User(pk=7)) == ({f"job-{number}" for number in range(8)} - {"job-3"}, {"job-3"})
    assert all(answer == (set(wanted[user]), set()) for user, answer in found.items())
    assert Fails.asked <= 2 * 9 + 1  # 512 pairs are halved nine times


def test_viewable__a_silent_database_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise OperationalError("the database is away")

    monkeypatch.setattr(AccessPolicy, "viewable", away)
    with pytest.raises(OperationalError):
        viewable({User(pk=1): ["a"], User(pk=2): ["b"]})


class OfEach(AccessPolicy):
    def recent(self, user: Any, jobs: Any, limit: int) -> Any:
        return list(jobs.filter(public=False).order_by("-created_at")[:limit])


def test_newest__asks_what_a_policy_has_of_its_own(users: Any, jobs: list[ProcessingJob]) -> None:
    owner = users["owner"]
    with override_settings(JOBS_ACCESS_POLICY=f"{__name__}.OfEach"):
        assert set(newest([owner], 9, own=False)[owner]) == {job.pk for job in jobs if not job.public}
        assert newest([owner], 9, own=True)[owner] == [job.pk for job in jobs if job.name == "owned"]
    with override_settings(JOBS_ACCESS_POLICY=f"{__name__}.OnlyVisible"):
        assert newest([owner], 9, own=False)[owner] == [job.pk for job in jobs if job.name == "public"]


def test_newest__a_silent_database_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise OperationalError("the database is away")

    monkeypatch.setattr(AccessPolicy, "newest", away)
    with pytest.raises(OperationalError):
        newest([User(pk=1), User(pk=2)], 9, own=False)

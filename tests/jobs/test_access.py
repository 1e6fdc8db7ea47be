"""Who may see which job; both methods of the policy must say the same."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.test import override_settings

from jobs.access import AccessPolicy, check_policy, policy
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
def test_default_policy__both_methods_agree(name: str, users: dict[str, Any], jobs: list[ProcessingJob]) -> None:
    user = users[name]
    assert {job.name for job in jobs if policy().may_view(user, job)} == SEEN[name]
    assert {job.name for job in policy().visible(user, ProcessingJob.objects.all())} == SEEN[name]


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

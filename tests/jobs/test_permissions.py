"""Who of many has a permission: what `has_perm` says of each, in one query."""

from typing import Any

import pytest
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs.access import VIEW_PERMISSION, viewable
from jobs.permissions import holders

pytestmark = pytest.mark.django_db

DJANGO = "django.contrib.auth.backends.ModelBackend"


@pytest.fixture
def users() -> list[Any]:
    """Everybody who may, and may not, have it, by each way to it."""
    view = Permission.objects.get(codename="view_processingjob")
    change = Permission.objects.get(codename="change_processingjob")
    viewers, changers = (Group.objects.create(name=name) for name in ("viewers", "changers"))
    viewers.permissions.add(view)
    changers.permissions.add(change)
    for is_active in True, False:
        for is_superuser in True, False:
            for own in [], [view], [change], [view, change]:
                for groups in [], [viewers], [changers], [viewers, changers]:
                    name = f"{is_active} {is_superuser} {own} {groups}"
                    user = User.objects.create(username=name, is_active=is_active, is_superuser=is_superuser)
                    user.user_permissions.set(own)
                    user.groups.set(groups)
    return [*User.objects.all(), AnonymousUser()]


def by_each(users: list[Any]) -> set[Any]:
    return {user for user in users if user.has_perm(VIEW_PERMISSION)}


def test_holders__are_those_whom_has_perm_names(users: list[Any]) -> None:
    with CaptureQueriesContext(connection) as queries:
        found = holders(users, VIEW_PERMISSION)
    assert len(queries) == 1
    assert found == by_each(users)
    assert 0 < len(found) < len(users)


class ByMail(ModelBackend):
    """Signs in by something else; what a user may do is left to Django."""

    def authenticate(self, *_: Any, **__: Any) -> None:
        return None


class Directory(BaseBackend):
    """Signs in, and gives no permissions."""


class Inherits(ModelBackend):
    """Gives permissions in its own way."""

    def _get_group_permissions(self, _: Any) -> Any:
        return Permission.objects.all()


class Everything(BaseBackend):
    def has_perm(self, *_: Any, **__: Any) -> bool:
        return True


@pytest.mark.parametrize(
    ("backends", "is_one_query"),
    [
        (["ByMail"], True),
        (["Directory", DJANGO], True),
        (["Directory"], False),
        (["Inherits"], False),
        (["Everything", DJANGO], False),
    ],
)
def test_holders__under_a_hosts_own_backends(settings, users: list[Any], backends: list[str], is_one_query: bool):
    settings.AUTHENTICATION_BACKENDS = [backend if "." in backend else f"{__name__}.{backend}" for backend in backends]
    with CaptureQueriesContext(connection) as queries:
        found = holders(users, VIEW_PERMISSION)
    assert (len(queries) == 1) == is_one_query
    assert found == by_each(users)


def test_holders__of_a_user_model_that_says_itself(users: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(User, "has_perm", lambda self, _: self.is_superuser, raising=False)
    assert holders(users, VIEW_PERMISSION) == by_each(users)


def test_viewable__as_many_queries_for_any_number_of_staff(make_job: Any) -> None:
    make_job("private")
    staff = [User.objects.create(username=f"staff-{number}", is_staff=True) for number in range(20)]
    for user in staff[::2]:
        user.user_permissions.add(Permission.objects.get(codename="view_processingjob"))
    with CaptureQueriesContext(connection) as queries:
        found = viewable({user: ["private"] for user in staff})
    assert len(queries) == 2, "jobs, permissions"
    assert {user for user, (seen, _) in found.items() if seen} == set(staff[::2])

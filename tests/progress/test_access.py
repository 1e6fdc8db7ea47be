"""Whoever changes what access depends on has it asked for again: once, after the commit, and it harms nothing."""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
from django.contrib.auth import get_user_model, user_logged_out
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from progress import access
from progress.access import access_changed
from progress.identity.revocation import revoke_token

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Whom a change was told."""
    calls: list[str] = []
    monkeypatch.setattr(access.hubs, "access_changed", lambda: calls.append("here"))
    monkeypatch.setattr(access, "tell_access_changed", lambda: calls.append("elsewhere"))
    return calls


@pytest.fixture
def ann(make_job: Any) -> User:
    user = User.objects.create_user("ann", password="old")
    group = Group.objects.create(name="watchers")
    group.permissions.add(view_permission())
    user.groups.add(group)
    make_job("job-1", owner=user)
    return user


def view_permission() -> Permission:
    return Permission.objects.get(codename="view_processingjob")


def saved(model: Any, *fields: str, **values: Any) -> None:
    instance = model.objects.get()
    for name, value in values.items():
        setattr(instance, name, value)
    instance.save(**({"update_fields": fields} if fields else {}))


def signed_out() -> None:
    browser = Client()
    browser.force_login(User.objects.get())
    browser.logout()


def ann_of() -> User:
    return User.objects.get()


CHANGES: dict[str, Callable[[], Any]] = {
    "signed out": signed_out,
    "user": lambda: saved(User, is_active=False),
    "staff alone": lambda: saved(User, "is_staff", is_staff=True),
    "user deleted": lambda: (ProcessingJob.objects.all().delete(), ann_of().delete()),
    "group": lambda: saved(Group, name="others"),
    "group deleted": lambda: Group.objects.get().delete(),
    "left a group": lambda: ann_of().groups.clear(),
    "got a permission": lambda: ann_of().user_permissions.add(view_permission()),
    "group without permissions": lambda: Group.objects.get().permissions.set([]),
    "job made public": lambda: saved(ProcessingJob, public=True),
    "token revoked": lambda: revoke_token("token-1"),
    "job made public by its lifecycle": lambda: ProcessingJobLifecycle("job-1").edit(public=True),
    "another owner": lambda: saved(ProcessingJob, "owner", owner=None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_change__is_told_here_and_elsewhere(ann: User, told: list[str], change: Callable[[], Any]) -> None:
    told.clear()
    change()
    assert {"here", "elsewhere"} <= set(told)


NO_CHANGES: dict[str, Callable[[], Any]] = {
    "sign-in": lambda: Client().force_login(ann_of()),
    "new user": lambda: User.objects.create_user("ben"),
    "name of a job": lambda: saved(ProcessingJob, "name", name="Another"),
    "nobody signed out": lambda: Client().logout(),
}


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES)
def test_change__that_nobodys_access_depends_on_is_not_told(
    ann: User, told: list[str], change: Callable[[], Any]
) -> None:
    told.clear()
    change()
    assert told == []


def test_nobody__who_signs_out_is_no_error(told: list[str], rf: Any) -> None:
    user_logged_out.send(sender=None, request=rf.get("/"), user=None)
    assert told == []


def test_transaction__tells_after_its_commit(ann: User, told: list[str]) -> None:
    told.clear()
    with transaction.atomic():
        saved(User, is_staff=True)
        assert told == []
    assert told == ["here", "elsewhere"]
    with transaction.atomic():
        saved(User, is_staff=False)
        transaction.set_rollback(True)
    assert told == ["here", "elsewhere"]


def test_servers__that_can_not_be_told_harm_nobody(ann: User, monkeypatch: pytest.MonkeyPatch, logged: Any) -> None:
    def fails() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(access, "tell_access_changed", fails)
    saved(User, is_active=False)
    assert not User.objects.get().is_active
    assert any("can't start new thread" in line for line in logged.of("progress.access"))


async def test_access_changed__from_asynchronous_code(told: list[str]) -> None:
    access_changed()
    assert told == ["here", "elsewhere"]


def test_clearsessions__still_deletes_without_reading() -> None:
    store = import_module("django.contrib.sessions.backends.db").SessionStore
    for _ in range(3):
        store().create()
    Session.objects.update(expire_date=timezone.now())
    with CaptureQueriesContext(connection) as queries:
        call_command("clearsessions")
    assert not any("SELECT" in query["sql"] for query in queries)
    assert not Session.objects.exists()


def test_connect__a_user_model_without_permissions(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    for name in "groups", "user_permissions":
        monkeypatch.delattr(get_user_model(), name)
    access.connect()


def test_connect__a_user_model_whose_groups_are_no_relation(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    monkeypatch.setattr(get_user_model(), "groups", property(lambda user: ["from a directory"]))
    access.connect()

"""Users as they are stored now: the object goes on only where a new one would be no different."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group, Permission, User
from django.db import connection, models
from django.db.models.base import Model
from django.db.models.signals import post_init
from django.test.utils import CaptureQueriesContext, isolate_apps

from jobs.models import ProcessingJob
from progress.identity import stored_users
from progress.identity.rights import Rights, may_view, newest, recent
from progress.identity.stored_users import lend, users_as_stored

pytestmark = pytest.mark.django_db

PERMISSION = "jobs.view_processingjob"


@pytest.fixture
def ann() -> User:
    """Somebody as they are read."""
    User.objects.create_user("ann", password="old")
    return as_read(User.objects.get())


def read_again(user: Any) -> Any:
    return users_as_stored({user.pk: user})[user.pk]


as_read = read_again  # whoever read a user first does not say what the row was


def noted(user: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(user._state).items() if name != "as_read"}


def test_user__who_was_read_elsewhere_is_read_anew_once(ann: User) -> None:
    elsewhere = User.objects.get()
    now = read_again(elsewhere)
    assert now is not elsewhere
    assert read_again(now) is now


def test_user__who_is_as_before_is_the_same_object_by_one_query(ann: User) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert read_again(ann) is ann
    assert len(queries) == 1


@pytest.mark.parametrize("column", [field.attname for field in User._meta.concrete_fields if not field.primary_key])
def test_user__of_whom_any_column_changed_is_read_anew(ann: User, column: str) -> None:
    value = getattr(ann, column)
    match value:
        case bool():
            value = not value
        case str():
            value += "x"
        case _:
            value = "2001-02-03T04:05:06Z"
    User.objects.update(**{column: value})
    now = read_again(ann)
    assert now is not ann
    assert vars(now) == {**vars(User.objects.get()), "_state": now._state}


def test_user__who_is_another_with_the_same_id_is_read_anew(ann: User) -> None:
    User.objects.all().delete()
    User.objects.create(pk=ann.pk, username="ben", password=ann.password, date_joined=ann.date_joined)
    assert read_again(ann).username == "ben"
    assert ann.username == "ann"


def test_user__who_is_gone_is_left_out(ann: User) -> None:
    User.objects.all().delete()
    assert users_as_stored({ann.pk: ann}) == {}


def a_permission(user: User) -> None:
    user.has_perm(PERMISSION)


def a_related_object(user: User) -> None:
    user._state.fields_cache["profile"] = "read earlier"


def a_prefetch(user: User) -> None:
    models.prefetch_related_objects([user], "groups")


def an_attribute(user: User) -> None:
    user.floor = 3  # type: ignore[attr-defined]


def a_changed_column(user: User) -> None:
    user.is_staff = True


def a_deferred_column(user: User) -> None:
    del user.email


KEPT = [a_permission, a_related_object, a_prefetch, an_attribute, a_changed_column, a_deferred_column, lend]


@pytest.mark.parametrize("keep", KEPT)
def test_user__on_whom_something_is_kept_is_read_anew(ann: User, keep: Callable[[User], None]) -> None:
    keep(ann)
    now = read_again(ann)
    assert now is not ann
    assert vars(now) == {**vars(User.objects.get()), "_state": now._state}
    assert noted(now) == noted(User.objects.get())
    assert read_again(now) is now


def test_permission__that_was_withdrawn_by_sql_is_not_remembered(ann: User) -> None:
    group = Group.objects.create(name="viewers")
    group.permissions.add(Permission.objects.get(codename="view_processingjob"))
    group.user_set.add(ann)
    ann = read_again(ann)
    assert ann.has_perm(PERMISSION)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM auth_user_groups")
    assert not read_again(ann).has_perm(PERMISSION)


@pytest.mark.parametrize(
    "ask",
    [
        lambda rights: may_view(rights, ProcessingJob()),
        lambda rights: recent(rights, "all", 1),
        lambda rights: newest([rights], "all", 1),
    ],
)
def test_policy__that_was_given_a_user_may_keep_what_it_read_for_as_long_as_it_likes(ann: User, ask: Any) -> None:
    ask(Rights(ann))
    assert read_again(ann) is not ann


def test_lend__takes_whatever_a_backend_calls_a_user() -> None:
    lend(AnonymousUser())
    lend(object())


def test_user__from_another_database_or_of_another_kind_is_read_anew(ann: User) -> None:
    ann._state.db = "replica"
    now = read_again(ann)
    assert (now is ann, now._state.db) == (False, "default")
    assert type(users_as_stored({ann.pk: AnonymousUser()})[ann.pk]) is User


@pytest.mark.parametrize("way", ["from_db", "listener", "queryset", "columns"])
def test_model__to_which_a_site_adds_of_its_own_is_read_anew(ann: User, monkeypatch: Any, way: str) -> None:
    def listen(**_: Any) -> None:
        """Might set anything."""

    class Own(models.QuerySet[User]):
        """Might return anything."""

    match way:
        case "from_db":
            own = classmethod(lambda cls, *args, **options: Model.from_db.__func__(cls, *args, **options))  # type: ignore[attr-defined]
            monkeypatch.setattr(User, "from_db", own)
        case "listener":
            post_init.connect(listen, sender=User)
        case "queryset":
            monkeypatch.setattr(User._default_manager, "_queryset_class", Own)
        case "columns":
            monkeypatch.setattr(User._meta.get_field("email"), "from_db_value", lambda value, *_: value, raising=False)
    try:
        assert read_again(ann) is not ann
    finally:
        post_init.disconnect(listen, sender=User)


@pytest.mark.django_db(transaction=True)
@isolate_apps("demo")
def test_column__that_a_site_adds_to_its_users_counts(monkeypatch: Any) -> None:
    class Member(AbstractBaseUser):
        username = models.CharField(max_length=10)
        floor = models.IntegerField(default=1)

        class Meta:
            app_label = "demo"

    monkeypatch.setattr(stored_users, "get_user_model", lambda: Member)
    with connection.schema_editor() as editor:
        editor.create_model(Member)
    try:
        Member._base_manager.create(username="ann")
        ann = as_read(Member._base_manager.get())
        assert read_again(ann) is ann
        Member._base_manager.update(floor=2)
        assert (read_again(ann).floor, ann.floor) == (2, 1)
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Member)

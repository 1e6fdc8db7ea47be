"""Users as the database has them now: the known object where a new one would be no different, else a new one.

To make a model instance of each row takes longer than to read it, and thousands that come and go every few seconds
have the garbage collector stop the event loop. Yet what anybody keeps on a user, such as permissions, must not outlive
a check. So an object goes on only if nothing is kept on it, and nothing can come to be: `lend` says that it might.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import Model, QuerySet
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init

from ..source.store import among

STATE = {"adding", "db", "fetch_mode"}  # what Django notes on a model instance that was read; the last since 6.1


def lend(user: Any) -> None:
    """Note that others have a user object: what they read now they may keep on it, at any later time."""
    if isinstance(user, Model):
        vars(user._state)["is_lent"] = True


def users_as_stored(known: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the users with these ids, without those that there are no more.

    Args:
        known: The user of each id, as read before.

    Raises:
        Error: The database does not answer.

    """
    model = get_user_model()
    alias = router.db_for_write(model)
    users = model._default_manager.using(alias)
    found = dict(_unchanged(users, known))
    others = [pk for pk in known if pk not in found]
    return found | ({user.pk: user for user in users.filter(among(others))} if others else {})


def _unchanged(users: "QuerySet[Any]", known: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield those of whom a new object would hold the same, by their ids."""
    columns = [field.attname for field in users.model._meta.concrete_fields]
    as_new = list(_as_new(users, known, columns)) if _are_made_of_columns(users) else []
    if as_new:
        for pk, *row in users.filter(among(as_new)).values_list("pk", *columns):
            _, *values = vars(known[pk]).values()
            if values == row:
                yield pk, known[pk]


def _are_made_of_columns(users: "QuerySet[Any]") -> bool:
    """Return whether a user holds what its row does, as it was read, and nothing that code of the site's adds."""
    model = users.model
    is_stock = model.__init__ is Model.__init__ and model.from_db.__func__ is Model.from_db.__func__  # type: ignore[attr-defined]
    is_stock = is_stock and type(users) is QuerySet and not post_init.has_listeners(model)
    return is_stock and all(_is_plain(model, field) for field in model._meta.concrete_fields)


def _is_plain(model: Any, field: Any) -> bool:
    """Return whether nothing can be kept on a value: a file, say, keeps there that it was opened."""
    is_as_stored = type(getattr(model, field.attname)).__get__ is DeferredAttribute.__get__
    return is_as_stored and not hasattr(field, "from_db_value")


def _as_new(users: "QuerySet[Any]", known: Mapping[Any, Any], columns: Collection[str]) -> Iterator[Any]:
    """Yield the ids of those on whom nothing is kept: no permission, nothing cached, no related object, no note."""
    names = ["_state", *columns]
    for pk, user in known.items():
        if type(user) is users.model:
            state = user._state
            is_from_there = state.db == users.db and not state.adding
            if is_from_there and vars(state).keys() <= STATE and [*vars(user)] == names:
                yield pk

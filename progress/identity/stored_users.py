"""Users as the database has them now: the known object where a new one would be no different, else a new one.

To make a model instance of each row takes longer than to read it, and thousands that come and go every few seconds
have the garbage collector stop the event loop. Yet what anybody keeps on a user, such as permissions, must not outlive
a check. So an object goes on only if nothing is kept on it, and nothing can come to be: `lend` says that it might.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import DateTimeField, Model, QuerySet, TextField
from django.db.models.functions import Cast
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init

from ..source.store import among

# What Django notes on a model instance that was read, the third since 6.1, and what is noted here.
STATE = {"adding", "db", "fetch_mode", "as_read"}
AS_TEXT = "_as_text"  # ends the name of a moment as text: to make 5,000 of them times takes as long as to read them


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
    if not _are_made_of_columns(users):
        return {user.pk: user for user in users.filter(among(known))}
    found = dict(_unchanged(users, known))
    others = [pk for pk in known if pk not in found]
    return found | ({user.pk: user for user in _read(users, others)} if others else {})


def _unchanged(users: "QuerySet[Any]", known: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield those whose row is what it was when they were read, by their ids."""
    if as_new := list(_as_new(users, known)):
        moments = _moments(users)
        columns = [moments.get(field.attname, field.attname) for field in users.model._meta.concrete_fields]
        for pk, *row in users.filter(among(as_new)).values_list("pk", *columns):
            if row == known[pk]._state.as_read[1]:
                yield pk, known[pk]


def _read(users: "QuerySet[Any]", ids: Collection[Any]) -> Iterator[Any]:
    """Yield users, on each of whom is noted what it holds, and its row."""
    moments = _moments(users)
    texts = {f"{name}{AS_TEXT}": text for name, text in moments.items()}
    for user in users.filter(among(ids)).annotate(**texts):
        row = {name: vars(user).pop(f"{name}{AS_TEXT}") for name in moments}
        _, *values = vars(user).values()
        row = {**vars(user), **row}
        user._state.as_read = values, [row[field.attname] for field in users.model._meta.concrete_fields]
        yield user


def _moments(users: "QuerySet[Any]") -> dict[str, Cast]:
    fields = users.model._meta.concrete_fields
    return {each.attname: Cast(each.attname, TextField()) for each in fields if isinstance(each, DateTimeField)}


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


def _as_new(users: "QuerySet[Any]", known: Mapping[Any, Any]) -> Iterator[Any]:
    """Yield the ids of those on whom nothing is kept: no permission, nothing cached, no related object, no note."""
    names = ["_state", *(field.attname for field in users.model._meta.concrete_fields)]
    for pk, user in known.items():
        if type(user) is users.model:
            state = user._state
            is_read_here = state.db == users.db and hasattr(state, "as_read")
            if is_read_here and vars(state).keys() <= STATE and [*vars(user)] == names:
                _, *values = vars(user).values()
                if values == state.as_read[0]:
                    yield pk

"""Which of many users have a permission: in one query where Django's own backend decides, else by asking for each."""

from collections.abc import Collection
from typing import Any

from django.contrib import auth
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.models import PermissionsMixin
from django.db import router

from .among import among

BY_BACKENDS = "has_perm", "get_all_permissions", "get_user_permissions", "get_group_permissions"
OF_MODELS = *BY_BACKENDS, "_get_permissions", "_get_user_permissions", "_get_group_permissions"


def holders(users: Collection[Any], permission: str) -> set[Any]:
    """Return those of some users who have a permission (``app_label.codename``), as ``user.has_perm`` says."""
    if not _is_djangos_own():
        return {user for user in users if user.has_perm(permission)}
    asked: dict[Any, Any] = {}
    found = set()
    for user in users:
        if not isinstance(user, get_user_model()) or type(user).has_perm is not PermissionsMixin.has_perm:
            found |= {user} if user.has_perm(permission) else set()
        elif user.is_active and user.is_superuser:
            found.add(user)
        elif user.is_active:
            asked[user.pk] = user
    return found | {asked[pk] for pk in _stored_holders(asked, permission)}


def _is_djangos_own() -> bool:
    """Return whether Django's ``ModelBackend`` and nothing else gives permissions, whatever else signs users in."""
    backends = [type(backend) for backend in auth.get_backends() if hasattr(backend, "has_perm")]
    deciding = [backend for backend in backends if not _inherits(backend, BaseBackend, BY_BACKENDS)]
    return bool(deciding) and all(_inherits(backend, ModelBackend, OF_MODELS) for backend in deciding)


def _inherits(backend: type, stock: type, names: Collection[str]) -> bool:
    return all(getattr(backend, name, None) is getattr(stock, name) for name in names)


def _stored_holders(pks: Collection[Any], permission: str) -> set[Any]:
    """Return the keys of those who have a permission themselves or by a group; superusers need not."""
    app_label, codename = permission.split(".")
    model: Any = get_user_model()
    alias = router.db_for_write(model)
    if not pks:
        return set()
    users = model._base_manager.using(alias).filter(among(pks)).order_by().values_list("pk", flat=True)
    ways = [
        users.filter(**{f"{way}__content_type__app_label": app_label, f"{way}__codename": codename})
        for way in ("user_permissions", "groups__permissions")
    ]
    return set(ways[0].union(ways[1]))

"""Who clients are by now: sessions end, passwords change, users are deactivated, deleted, promoted or demoted."""

import logging
from collections.abc import Collection, Iterable
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ObjectDoesNotExist
from django.db import Error, router
from django.utils import timezone

from .identity import Identity, Proof

logger = logging.getLogger(__name__)

IN_BULK = {f"django.contrib.sessions.backends.{engine}" for engine in ("db", "cached_db")}

Users = dict[tuple[str, Any], Any]


def renewed(identities: Collection[Identity]) -> dict[Proof, Any]:
    """Return, for each proof, the user as the database has them now; None if the proof no longer holds.

    One query for all users and one for all sessions, so no more at once than a query takes. A session engine or a
    backend of the host's own is asked for each; where that fails, the proof is left out. Reads the database.

    Raises:
        Error: The database does not answer.

    """
    known = {identity.proof: identity.user for identity in identities if identity.proof is not None}
    users, unclear = _users(known)
    living, unclear_keys = _living({proof.session_key for proof in known if proof.kind == "session"})
    return {
        proof: user if _holds(proof, before, user, living) else None
        for proof, before in known.items()
        if (key := (proof.backend, proof.user_id)) not in unclear and proof.session_key not in unclear_keys
        for user in [users.get(key)]
    }


def _holds(proof: Proof, before: Any, user: Any, living: Collection[str]) -> bool:
    if user is None:
        return False
    if proof.kind == "token":
        return bool(user.is_active) and _has_same_password(proof, before, user)
    return proof.session_key in living and _has_same_password(proof, before, user)


def _has_same_password(proof: Proof, before: Any, user: Any) -> bool:
    """Return whether a user has the password of the proof, or whatever else their model has sessions end by."""
    if not hasattr(user, "get_session_auth_hash"):
        return True  # as Django has it
    is_stock = all(
        getattr(type(user), name, None) is getattr(AbstractBaseUser, name)
        for name in ("get_session_auth_hash", "_get_session_auth_hash")
    )
    if is_stock and type(before) is type(user) and before.password == user.password:
        return True  # to hash it, for all who watch, takes longer than all else
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(each.startswith(proof.hash) for each in hashes)


def _users(proofs: Iterable[Proof]) -> tuple[Users, set[tuple[str, Any]]]:
    """Return users by the backend and the id that name them, and those that could not be asked for."""
    wanted: dict[str, dict[Any, None]] = {}
    for proof in proofs:
        wanted.setdefault(proof.backend, {})[proof.user_id] = None
    found: Users = {}
    unclear = set()
    for path, user_ids in wanted.items():
        backend = auth.load_backend(path) if path else None
        if backend is None or type(backend).get_user is ModelBackend.get_user:
            may_enter = getattr(backend, "user_can_authenticate", lambda _: True)
            found.update({(path, user.pk): user for user in _in_bulk(user_ids) if may_enter(user)})
            continue
        for user_id in user_ids:
            try:
                found[path, user_id] = backend.get_user(user_id)
            except ObjectDoesNotExist:
                found[path, user_id] = None
            except Exception as error:  # of a directory that does not answer, say
                logger.warning("%s can't say who a user is: %r", path, error)
                unclear.add((path, user_id))
    return found, unclear


def _in_bulk(user_ids: Iterable[Any]) -> Iterable[Any]:
    model = get_user_model()
    users = model._default_manager.using(router.db_for_write(model))
    return users.filter(pk__in=list(user_ids))


def _living(session_keys: set[str]) -> tuple[set[str], set[str]]:
    """Return those sessions that have not ended, and those that could not be asked for."""
    if not session_keys:
        return set(), set()
    store = import_module(settings.SESSION_ENGINE).SessionStore
    living: set[str] = set()
    unclear = set()
    if settings.SESSION_ENGINE in IN_BULK:
        living = _living_rows(store, session_keys)
        if settings.SESSION_ENGINE.endswith(".db"):
            return living, set()
    for key in session_keys - living:
        try:
            if auth.SESSION_KEY in store(key):  # which loads it, as a request would
                living.add(key)
        except Error:
            raise
        except Exception as error:  # of a cache that does not answer, say
            logger.warning("%s can't say whether a session goes on: %r", settings.SESSION_ENGINE, error)
            unclear.add(key)
    return living, unclear


def _living_rows(store: Any, session_keys: set[str]) -> set[str]:
    model = store.get_model_class()
    rows = model.objects.using(router.db_for_write(model)).filter(expire_date__gt=timezone.now(), pk__in=session_keys)
    return set(rows.values_list("session_key", flat=True))

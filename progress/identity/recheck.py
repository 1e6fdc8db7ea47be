"""Whether what clients have shown still holds: sessions end, passwords change, users are deactivated or deleted."""

import logging
from collections.abc import Collection, Iterable, Mapping
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ObjectDoesNotExist
from django.db import router
from django.utils import timezone

from .identity import Proof
from .revocation import revoked_among

logger = logging.getLogger(__name__)

ENGINES_WITH_ROWS = {f"django.contrib.sessions.backends.{name}" for name in ("db", "cached_db")}

UserKey = tuple[str, Any]  # the backend, and the id by which it knows the user


def recheck(known: Mapping[Proof, Any]) -> dict[Proof, Any]:
    """Return the user of each proof as the database has them now; None if the proof no longer holds.

    One query for the users of each of Django's backends, one for all sessions and one for all tokens, so no more at
    once than a query takes. A session engine or a backend of the host's own is asked for each; where that fails, the
    proof is left out.

    Args:
        known: The user of each proof, as read before.

    Raises:
        Error: The database does not answer.

    """
    users, unclear_users = _users(proof for proof in known if proof.user_id is not None)
    living, unclear_sessions = _living({proof.session_key for proof in known if proof.kind == "session"})
    revoked = revoked_among({proof.jti for proof in known} - {""})
    answers: dict[Proof, Any] = {}
    for proof, before in known.items():
        if proof.jti in revoked:
            answers[proof] = None
            continue
        if proof.user_id is None:
            answers[proof] = before  # who is nobody in particular, and stays that
            continue
        key = proof.backend, proof.user_id
        if key in unclear_users or proof.session_key in unclear_sessions:
            continue
        user = users.get(key)
        lives = user is not None and (user.is_active if proof.kind == "token" else proof.session_key in living)
        answers[proof] = user if lives and _has_same_password(proof, before, user) else None
    return answers


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
    return any(each.startswith(proof.password_hash) for each in hashes)


def _users(proofs: Iterable[Proof]) -> tuple[dict[UserKey, Any], set[UserKey]]:
    """Return the users that there are, and those that could not be asked for."""
    wanted: dict[str, dict[Any, None]] = {}
    for proof in proofs:
        wanted.setdefault(proof.backend, {})[proof.user_id] = None
    found: dict[UserKey, Any] = {}
    unclear: dict[UserKey, Exception] = {}
    for path, user_ids in wanted.items():
        backend = auth.load_backend(path) if path else None
        if backend is None or type(backend).get_user is ModelBackend.get_user:
            may_enter = getattr(backend, "user_can_authenticate", lambda _: True)
            found.update({(path, user.pk): user for user in _stored(user_ids) if may_enter(user)})
            continue
        for user_id in user_ids:
            try:
                found[path, user_id] = backend.get_user(user_id)
            except ObjectDoesNotExist:
                found[path, user_id] = None
            except Exception as error:  # of a directory that does not answer, say
                unclear[path, user_id] = error
    _warn(unclear, "users")
    return found, set(unclear)


def _stored(user_ids: Iterable[Any]) -> Iterable[Any]:
    model = get_user_model()
    return model._default_manager.using(router.db_for_write(model)).filter(pk__in=list(user_ids))


def _living(session_keys: set[str]) -> tuple[set[str], set[str]]:
    """Return those sessions that have not ended, and those that could not be asked for."""
    if not session_keys:
        return set(), set()
    store = import_module(settings.SESSION_ENGINE).SessionStore
    living: set[str] = set()
    unclear: dict[str, Exception] = {}
    if settings.SESSION_ENGINE in ENGINES_WITH_ROWS:
        living = _rows_of(store, session_keys)
        if settings.SESSION_ENGINE.endswith(".db"):
            return living, set()
    for key in session_keys - living:
        try:
            if auth.SESSION_KEY in store(key):  # which loads it, as a request would
                living.add(key)
        except Exception as error:  # of a cache that does not answer, say
            unclear[key] = error
    _warn(unclear, "sessions")
    return living, set(unclear)


def _rows_of(store: Any, session_keys: Collection[str]) -> set[str]:
    """Return the sessions that have a row; to decode what each holds would take longer than all else."""
    model = store.get_model_class()
    rows = model.objects.using(router.db_for_write(model)).filter(expire_date__gt=timezone.now(), pk__in=session_keys)
    return set(rows.values_list("session_key", flat=True))


def _warn(unclear: Mapping[Any, Exception], what: str) -> None:
    if unclear:
        logger.warning("%d %s can't be checked now: %r", len(unclear), what, next(iter(unclear.values())))

"""Whether what clients have shown still holds: sessions end, passwords change, users are deactivated or deleted."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from django.contrib import auth
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ObjectDoesNotExist
from django.db import router

from ..source.store import most_ids
from ..source.vocabulary import batched
from .identity import Proof
from .revocation import revoked_among
from .sessions import living

logger = logging.getLogger(__name__)

UserKey = tuple[str, Any]  # the backend, and the id by which it knows the user


def recheck(known: Mapping[Proof, Any]) -> dict[Proof, Any]:
    """Return the user of each proof as the database has them now; None if the proof no longer holds.

    One query for the users of each of Django's backends, one for all sessions and one for all tokens, where the
    database takes as many ids in one. A session engine or a backend of the host's own is asked for each; where that
    fails, the proof is left out.

    Args:
        known: The user of each proof, as read before.

    Raises:
        Error: The database does not answer.

    """
    users, unclear_users = _users(proof for proof in known if proof.user_id is not None)
    signed_in, unclear_sessions = living({proof.session_key for proof in known if proof.kind == "session"})
    _warn(unclear_sessions, "sessions")
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
        lives = user is not None and (user.is_active if proof.kind == "token" else proof.session_key in signed_in)
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


def _stored(user_ids: Collection[Any]) -> Iterator[Any]:
    model = get_user_model()
    alias = router.db_for_write(model)
    for some in batched(user_ids, most_ids(alias)):
        yield from model._default_manager.using(alias).filter(pk__in=some)


def _warn(unclear: Mapping[Any, Exception], what: str) -> None:
    if unclear:
        logger.warning("%d %s can't be checked now: %r", len(unclear), what, next(iter(unclear.values())))

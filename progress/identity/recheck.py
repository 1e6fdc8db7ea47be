"""Whether what clients have shown still holds: sessions end, passwords change, users are deactivated or deleted."""

import logging
from collections.abc import Mapping
from typing import Any

from django.contrib import auth
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ObjectDoesNotExist

from .identity import Proof
from .revocation import revoked_among
from .sessions import living
from .stored_users import users_as_stored

logger = logging.getLogger(__name__)

UNCLEAR: Any = object()  # what a backend says of a user that fails


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
    users = _users(known)
    signed_in, unclear = living({proof.session_key for proof in known if proof.kind == "session"})
    _warn(unclear, "sessions")
    revoked = revoked_among({proof.jti for proof in known} - {""})
    answers: dict[Proof, Any] = {}
    for proof, before in known.items():
        if proof.jti in revoked:
            answers[proof] = None
            continue
        if proof.user_id is None:
            answers[proof] = before  # who is nobody in particular, and stays that
            continue
        user = users[proof.backend].get(proof.user_id)
        if user is UNCLEAR or proof.session_key in unclear:
            continue
        lives = user is not None and (user.is_active if proof.kind == "token" else proof.session_key in signed_in)
        answers[proof] = user if lives and _has_same_password(proof, before, user) else None
    return answers


def _has_same_password(proof: Proof, before: Any, user: Any) -> bool:
    """Return whether a user has the password of the proof, or whatever else their model has sessions end by."""
    if not hasattr(user, "get_session_auth_hash"):
        return True  # as Django has it
    if type(before) is type(user) and before.password == user.password and _hashes_password_alone(type(user)):
        return True  # to hash it, for all who watch, takes longer than all else
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(each.startswith(proof.password_hash) for each in hashes)


def _hashes_password_alone(model: Any) -> bool:
    return (
        model.get_session_auth_hash is AbstractBaseUser.get_session_auth_hash
        and getattr(model, "_get_session_auth_hash", None) is AbstractBaseUser._get_session_auth_hash  # type: ignore[attr-defined]
    )


def _users(known: Mapping[Proof, Any]) -> dict[str, dict[Any, Any]]:
    """Return the users of each backend by their ids: those that there are, and those that could not be asked for."""
    wanted: dict[str, dict[Any, Any]] = {}
    for proof, user in known.items():
        if proof.user_id is not None:
            if proof.backend not in wanted:
                wanted[proof.backend] = {}
            wanted[proof.backend][proof.user_id] = user
    return {path: _users_of(path, before) for path, before in wanted.items()}


def _users_of(path: str, before: Mapping[Any, Any]) -> dict[Any, Any]:
    backend: Any = auth.load_backend(path) if path else None
    if backend is None:
        return users_as_stored(before)
    if type(backend).get_user is ModelBackend.get_user:
        return {pk: user for pk, user in users_as_stored(before).items() if backend.user_can_authenticate(user)}
    found: dict[Any, Any] = {}
    unclear: dict[Any, Exception] = {}
    for user_id in before:
        try:
            found[user_id] = backend.get_user(user_id)
        except ObjectDoesNotExist:
            found[user_id] = None
        except Exception as error:  # of a directory that does not answer, say
            found[user_id], unclear[user_id] = UNCLEAR, error
    _warn(unclear, "users")
    return found


def _warn(unclear: Mapping[Any, Exception], what: str) -> None:
    if unclear:
        logger.warning("%d %s can't be checked now: %r", len(unclear), what, next(iter(unclear.values())))

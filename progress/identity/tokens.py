"""Tokens: how a client other than a browser identifies its user, and how somebody without an account sees a job.

`issue_token` makes one. Other services that hold a key of ``PROGRESS_TOKEN_KEYS`` make their own. Either kind ends when
it expires, or by `revocation.revoke_token`.
"""

import secrets
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import router, transaction

from ..conf import conf
from ..models import AccessToken
from ..protocol.exceptions import InvalidToken
from ..protocol.frames import FeedName
from ..source.store import By, actor_of, record_of_token
from ..source.vocabulary import ActionKind
from . import signed_tokens, web_tokens
from .grant import Grant
from .identity import Identity, Proof
from .revocation import revoked_among, watch_of
from .token_users import fingerprints, user_of_token


def issue_token(
    user: AbstractBaseUser | None = None,
    jobs: Collection[str] | None = None,
    feed: FeedName | None = None,
    seconds: float | None = None,
    by: By = None,
    *,
    note: str = "",
) -> str:
    """Return a new token, and list it, so that it can be revoked; only who gets this has the token itself.

    With a user, it admits to what they may see, narrowed to the jobs and the feed if these are given. It becomes
    invalid if the user's password changes, or the user is deactivated. Without a user, it admits whoever has it to the
    jobs, private ones as well.

    Args:
        user: Whom it identifies.
        jobs: Ids of jobs, and beginnings of ids that end in ``*``.
        feed: ``"mine"`` or ``"all"``, of which only those jobs are shown.
        seconds: How long it is valid, by default ``PROGRESS_TOKEN_SECONDS``.
        by: Who issues it.
        note: What it is for, up to 200 characters; shown in the admin.

    Raises:
        InvalidValue: ``by`` is nobody who could be named.
        ValueError: It would name nothing, or something malformed, or last longer than ``PROGRESS_MAX_TOKEN_SECONDS``.

    """
    lifetime = min(conf.TOKEN_SECONDS, conf.MAX_TOKEN_SECONDS) if seconds is None else seconds
    if not 1 <= lifetime <= conf.MAX_TOKEN_SECONDS:
        raise ValueError(f"a token may last from 1 to {conf.MAX_TOKEN_SECONDS:,.0f} seconds")
    if isinstance(jobs, str):
        raise ValueError("'jobs' must be a list of jobs")
    if user is not None and user.pk is None:
        raise ValueError("nobody is signed in as this user")
    named = {"jobs": None if jobs is None else list(jobs), "feed": feed}
    watch = {name: value for name, value in named.items() if value is not None} or None
    Grant.of(watch, has_user=user is not None)
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=int(lifetime))
    row = AccessToken(jti=secrets.token_hex(16), note=note[:200], watch=watch, expires=expires)
    row.user_id, row.created_by = None if user is None else user.pk, str(actor_of(by))
    with transaction.atomic(using=router.db_for_write(AccessToken)):
        row.save(force_insert=True)
        record_of_token(ActionKind.ISSUE, by, watch_of(row), f"token {row.jti}, until {expires:%Y-%m-%d %H:%M} UTC")
    claims: dict[str, object] = {"jti": row.jti}
    if user is not None:
        claims |= {"sub": str(user.pk), web_tokens.FINGERPRINT: fingerprints(user)[0]}
    if watch is not None:
        claims["watch"] = watch
    return web_tokens.encode(claims, expires)


def verify(token: str) -> Identity:
    """Return the identity that a token shows. Reads the database.

    Raises:
        InvalidToken: It is forged, has expired or was revoked, or its user may not sign in or has a new password.

    """
    if not web_tokens.is_web_token(token):
        return signed_tokens.verify(token)
    claims = web_tokens.decode(token)
    if revoked_among([claims.jti]):
        raise InvalidToken("The token was revoked.")
    user = AnonymousUser() if claims.subject is None else user_of_token(claims.subject, claims.fingerprint)
    proof = Proof("token", user.pk, claims.fingerprint or "", jti=claims.jti, grant=claims.grant)
    return Identity(user, claims.expires, proof)

"""Tokens: how a client that is no browser shows whose it is. Signed, and good for a while."""

from datetime import UTC, datetime, timedelta

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core import signing
from django.core.exceptions import ValidationError

from ..conf import conf
from ..protocol.exceptions import InvalidToken
from .identity import Identity

SALT = "progress.tokens"


def issue(user: AbstractBaseUser, *, seconds: float | None = None) -> str:
    """Return a token that admits a user for ``seconds``, by default ``PROGRESS_TOKEN_SECONDS``.

    It ends early when the user's password changes or the user is deactivated.
    """
    lasts = conf.TOKEN_SECONDS if seconds is None else seconds
    expires = int((datetime.now(UTC) + timedelta(seconds=lasts)).timestamp())
    return signing.dumps({"u": str(user.pk), "x": expires, "h": _fingerprints(user)[0]}, salt=SALT)


def verify(token: str) -> Identity:
    """Return whom a token admits. Reads the database.

    Raises:
        InvalidToken: It admits nobody.

    """
    try:
        claims = signing.loads(token, salt=SALT)
        expires = datetime.fromtimestamp(claims["x"], UTC)
        user_id, fingerprint = get_user_model()._meta.pk.to_python(claims["u"]), claims["h"]
    except (signing.BadSignature, LookupError, TypeError, ValueError, OverflowError, OSError, ValidationError):
        # Forged; or signed by this site, but by a version of it that put other claims in.
        raise InvalidToken("The token is not one of ours.") from None
    if expires <= datetime.now(UTC):
        raise InvalidToken("The token has expired.")
    user = get_user_model()._default_manager.filter(pk=user_id).first()
    if user is None or not user.is_active or fingerprint not in _fingerprints(user):
        raise InvalidToken("The token's user may not sign in, or has a new password.")
    return Identity(user, expires)


def _fingerprints(user: AbstractBaseUser) -> list[str]:
    """Return what tells that a user's password is still the same, by the secret key, then by each of its fallbacks."""
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return [each[:16] for each in hashes]

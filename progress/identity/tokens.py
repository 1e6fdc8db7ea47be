"""Signed tokens that expire: how a client other than a browser identifies its user."""

from datetime import UTC, datetime, timedelta

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core import signing
from django.core.exceptions import ValidationError

from ..conf import conf
from ..protocol.exceptions import InvalidToken
from .identity import Identity, Proof

SALT = "progress.tokens"


def issue(user: AbstractBaseUser, *, seconds: float | None = None) -> str:
    """Return a token that admits a user for ``seconds``, by default ``PROGRESS_TOKEN_SECONDS``.

    It becomes invalid earlier if the user's password changes or the user is deactivated.
    """
    lifetime = conf.TOKEN_SECONDS if seconds is None else seconds
    expires = int((datetime.now(UTC) + timedelta(seconds=lifetime)).timestamp())
    return signing.dumps({"u": str(user.pk), "x": expires, "h": _fingerprints(user)[0]}, salt=SALT)


def verify(token: str) -> Identity:
    """Return the identity of a token's user. Reads the database.

    Raises:
        InvalidToken: It is forged or has expired, or its user may not sign in or has a new password.

    """
    try:
        claims = signing.loads(token, salt=SALT)
        expires = datetime.fromtimestamp(claims["x"], UTC)
        user_id, fingerprint = get_user_model()._meta.pk.to_python(claims["u"]), claims["h"]
    except (signing.BadSignature, LookupError, TypeError, ValueError, OverflowError, OSError, ValidationError):
        # Forged, or signed by a version of this site with other claims.
        raise InvalidToken("The token is not one of ours.") from None
    if expires <= datetime.now(UTC):
        raise InvalidToken("The token has expired.")
    user = get_user_model()._default_manager.filter(pk=user_id).first()
    if user is None or not user.is_active or fingerprint not in _fingerprints(user):
        raise InvalidToken("The token's user may not sign in, or has a new password.")
    return Identity(user, expires, Proof("token", user.pk, fingerprint))


def _fingerprints(user: AbstractBaseUser) -> list[str]:
    """Return a hash of the user's password for SECRET_KEY and each of its fallbacks; a new password changes them."""
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return [each[:16] for each in hashes]

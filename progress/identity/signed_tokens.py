"""Tokens as the site issued them before it had JSON Web Tokens: they are valid until they expire."""

from datetime import UTC, datetime

from django.core import signing

from ..protocol.exceptions import InvalidToken
from .identity import Identity, Proof
from .token_users import user_of_token

SALT = "progress.tokens"


def verify(token: str) -> Identity:
    """Return the identity of a token's user. Reads the database.

    Raises:
        InvalidToken: It is forged or has expired, or its user may not sign in or has a new password.

    """
    try:
        claims = signing.loads(token, salt=SALT)
        expires = datetime.fromtimestamp(claims["x"], UTC)
        subject, fingerprint = claims["u"], claims["h"]
    except (signing.BadSignature, LookupError, TypeError, ValueError, OverflowError, OSError):
        # Forged, or signed by a version of this site with other claims.
        raise InvalidToken("The token is not one of ours.") from None
    if expires <= datetime.now(UTC):
        raise InvalidToken("The token has expired.")
    if not isinstance(fingerprint, str):
        raise InvalidToken("The token is bound to no password.")
    user = user_of_token(subject, fingerprint)
    return Identity(user, expires, Proof("token", user.pk, fingerprint))

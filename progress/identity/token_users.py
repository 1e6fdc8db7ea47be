"""The user whom a token names."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError

from ..protocol.exceptions import InvalidToken


def user_of_token(subject: object, fingerprint: object) -> AbstractBaseUser:
    """Return the user with this primary key, if they may sign in. Reads the database.

    Args:
        subject: The primary key, as the token has it.
        fingerprint: Of the user's password; None if the token is not bound to that.

    Raises:
        InvalidToken: There is no such user, they were deactivated, or have a new password.

    """
    model = get_user_model()
    try:
        user_id: Any = model._meta.pk.to_python(subject)
    except (ValidationError, ValueError, TypeError, OverflowError):
        raise InvalidToken("The token's subject is no user.") from None
    user = model._default_manager.filter(pk=user_id).first()
    if user is None or not user.is_active or (fingerprint is not None and fingerprint not in fingerprints(user)):
        raise InvalidToken("The token's user may not sign in, or has a new password.")
    return user


def fingerprints(user: AbstractBaseUser) -> list[str]:
    """Return a hash of the user's password for SECRET_KEY and each of its fallbacks; a new password changes them."""
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return [each[:16] for each in hashes]

"""Whom a token admits that was signed before there were JSON Web Tokens."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.test import override_settings

from progress.identity import tokens
from progress.identity.signed_tokens import SALT
from progress.identity.token_users import fingerprints
from progress.protocol.exceptions import InvalidToken

pytestmark = pytest.mark.django_db


@pytest.fixture
def user():
    return User.objects.create_user("ann", password="first")


def claims(user: User, seconds: float = 3600, **changed: Any) -> dict[str, Any]:
    later = int((datetime.now(UTC) + timedelta(seconds=seconds)).timestamp())
    return {"u": str(user.pk), "x": later, "h": fingerprints(user)[0], **changed}


def signed(user: User, **changed: Any) -> str:
    return signing.dumps(claims(user, **changed), salt=SALT)


def test_verify__the_user_until_the_time(user):
    admission = tokens.verify(signed(user, seconds=60))
    left = (admission.expires - datetime.now(UTC)).total_seconds()
    assert admission.user == user
    assert 55 < left <= 60


def test_verify__expired(user):
    with pytest.raises(InvalidToken, match="expired"):
        tokens.verify(signed(user, seconds=0))


def test_verify__after_a_new_password(user):
    token = signed(user)
    user.set_password("second")
    user.save()
    with pytest.raises(InvalidToken):
        tokens.verify(token)


def test_verify__inactive_user(user):
    token = signed(user)
    User.objects.update(is_active=False)
    with pytest.raises(InvalidToken):
        tokens.verify(token)


def test_verify__user_who_is_gone(user):
    token = signed(user)
    user.delete()
    with pytest.raises(InvalidToken):
        tokens.verify(token)


def test_verify__of_another_purpose(user):
    """Anything else that the site has signed, such as a password reset, is no token."""
    with pytest.raises(InvalidToken):
        tokens.verify(signing.dumps(claims(user), salt="something else"))
    assert tokens.verify(signing.dumps(claims(user), salt=SALT)).user == user


@override_settings(SECRET_KEY="another")
def test_verify__of_another_site():
    user = User.objects.create_user("bob")
    with override_settings(SECRET_KEY="the first"):
        token = signed(user)
    with pytest.raises(InvalidToken):
        tokens.verify(token)


@pytest.mark.parametrize("place", [0, 5, -1])
def test_verify__changed_in_one_letter(user, place):
    letters = list(signed(user))
    letters[place] = "A" if letters[place] != "A" else "B"
    with pytest.raises(InvalidToken):
        tokens.verify("".join(letters))


NO_TOKENS = ["", ":", "::", "a", "a:b:c", "é:1:2", "\x00", "\ud800", ".:a:b", "x" * 60_000]


@pytest.mark.parametrize("token", NO_TOKENS, ids=lambda token: ascii(token[:20]))
def test_verify__no_token_at_all(token):
    with pytest.raises(InvalidToken):
        tokens.verify(token)


@pytest.mark.parametrize(
    "changed",
    [
        {"x": None},
        {"x": "soon"},
        {"x": []},
        {"x": 10**30},
        {"x": -(10**30)},
        {"x": 1e300},
        {"u": None},
        {"u": "nobody"},
        {"u": {}},
        {"u": []},
        {"u": "9" * 40},
        {"u": "-1"},
        {"h": None},
        {"h": ""},
        {"h": 5},
    ],
    ids=str,
)
def test_verify__odd_claims(user, changed):
    with pytest.raises(InvalidToken):
        tokens.verify(signing.dumps(claims(user, **changed), salt=SALT))


@pytest.mark.parametrize("whole", [None, [], {}, "words", 5, {"u": "1"}, {"x": 4102444800}], ids=str)
def test_verify__claims_of_another_shape(whole):
    with pytest.raises(InvalidToken):
        tokens.verify(signing.dumps(whole, salt=SALT))


def test_verify__after_the_secret_key_was_rotated(user, settings):
    token = signed(user, seconds=60)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another" * 9, [settings.SECRET_KEY]
    assert tokens.verify(token).user == user
    assert tokens.verify(signed(user)).user == user
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(InvalidToken):
        tokens.verify(token)

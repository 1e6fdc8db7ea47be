"""The tokens that the site issues: whom they admit, for how long, and what is kept of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from django.contrib.auth.models import AnonymousUser, User

from progress.identity import tokens
from progress.models import AccessToken
from progress.protocol.exceptions import InvalidToken
from tests.progress.identity.minting import KEYS, pair, shared

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ann", password="first")


def test_verify__the_user_until_the_time(user: User) -> None:
    identity = tokens.verify(tokens.issue_token(user, seconds=60))
    assert identity.expires is not None
    assert identity.user == user
    assert 58 < (identity.expires - datetime.now(UTC)).total_seconds() <= 60


def test_issue__lasts_as_long_as_the_settings_say(user: User, settings: Any) -> None:
    for seconds, maximum, expected in ((100, 1000, 100), (1000, 100, 100)):
        settings.PROGRESS_TOKEN_SECONDS, settings.PROGRESS_MAX_TOKEN_SECONDS = seconds, maximum
        expires = tokens.verify(tokens.issue_token(user)).expires
        assert expires is not None
        assert expected - 2 < (expires - datetime.now(UTC)).total_seconds() <= expected


def test_issue__lists_the_token_and_not_what_admits(user: User) -> None:
    token = tokens.issue_token(user, ["job-1"], "mine", by=user, note="for the dashboard")
    (row,) = AccessToken.objects.values()
    said = jwt.decode(token, options={"verify_signature": False})
    assert row["jti"] == said["jti"]
    assert row["watch"] == said["watch"] == {"jobs": ["job-1"], "feed": "mine"}
    assert (row["user_id"], row["created_by"], row["note"]) == (user.pk, f"user {user}", "for the dashboard")
    assert row["expires"] == datetime.fromtimestamp(said["exp"], UTC)
    assert not any(part in str(row) for part in token.split("."))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"jobs": []},
        {"jobs": ["*"]},
        {"jobs": "job-1"},
        {"jobs": ["job-1"], "feed": "mine"},
        {"feed": "all"},
        {"jobs": ["job-1"], "seconds": 0},
        {"jobs": ["job-1"], "seconds": float("nan")},
        {"jobs": ["job-1"], "seconds": 10**9},
        {"user": AnonymousUser(), "jobs": ["job-1"]},
    ],
    ids=lambda options: "_".join(options) or "nothing",
)
def test_issue__what_would_be_refused_is_not_issued(options: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        tokens.issue_token(**options)
    assert not AccessToken.objects.exists()


def new_password(user: User) -> None:
    user.set_password("second")
    user.save()


def deactivated(user: User) -> None:
    User.objects.update(is_active=False)


def deleted(user: User) -> None:
    user.delete()


@pytest.mark.parametrize("change", [new_password, deactivated, deleted])
def test_verify__not_once_its_user_has_changed(user: User, change: Any) -> None:
    token = tokens.issue_token(user)
    change(user)
    with pytest.raises(InvalidToken):
        tokens.verify(token)


@pytest.mark.parametrize("change", [deactivated, deleted])
def test_verify__another_services_not_once_its_user_has_changed(user: User, settings: Any, change: Any) -> None:
    settings.PROGRESS_TOKEN_KEYS = KEYS
    token = shared(sub=str(user.pk))
    new_password(user)  # of which another service knows nothing
    assert tokens.verify(token).user == user
    change(user)
    with pytest.raises(InvalidToken):
        tokens.verify(token)


@pytest.mark.parametrize("subject", ["0", "nobody", "-1", "9" * 40, "1.5", "None", ""])
def test_verify__a_subject_who_is_nobody(settings: Any, subject: str) -> None:
    settings.PROGRESS_TOKEN_KEYS = KEYS
    with pytest.raises(InvalidToken):
        tokens.verify(shared(sub=subject))


def test_verify__without_a_user_it_is_nobody_who_has_a_grant(settings: Any) -> None:
    settings.PROGRESS_TOKEN_KEYS = KEYS
    rights = tokens.verify(pair()).rights
    assert rights.user == AnonymousUser()
    assert not rights.is_of_user
    assert rights.admits("job-1")
    assert not rights.admits("job-2")


def test_verify__by_an_empty_fingerprint_is_no_way_round(user: User, settings: Any) -> None:
    settings.PROGRESS_TOKEN_KEYS = KEYS
    with pytest.raises(InvalidToken):
        tokens.verify(shared(sub=str(user.pk), password_fingerprint=""))


def test_identity__of_equal_names_and_other_grants_is_another(settings: Any) -> None:
    """A service that gives two tokens one name does not get the answers of one for the other."""
    settings.PROGRESS_TOKEN_KEYS = KEYS
    one, other = tokens.verify(shared()), tokens.verify(shared(watch={"jobs": ["job-2"]}))
    assert one.proof != other.proof
    assert one.rights != other.rights
    later = tokens.verify(shared(exp=int((datetime.now(UTC) + timedelta(hours=1)).timestamp())))
    assert one.proof == later.proof

"""Tokens that were revoked."""

from datetime import timedelta
from typing import Any
from unittest import mock

import jwt
import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from jobs.actors import Actor
from jobs.models import JobAction
from jobs.retention import housekeeping
from progress.identity import tokens
from progress.identity.recheck import recheck
from progress.identity.revocation import revoke_token, revoked_among
from progress.models import AccessToken
from progress.protocol.exceptions import InvalidToken
from tests.progress.identity.minting import KEYS, shared

pytestmark = pytest.mark.django_db


def name_of(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["jti"])


def test_revoke__our_token() -> None:
    token, other = tokens.issue_token(jobs=["job-1"]), tokens.issue_token(jobs=["job-1"])
    held = tokens.verify(token)
    revoke_token(name_of(token), by=User.objects.create_user("ann"))
    assert AccessToken.objects.get(pk=name_of(token)).revoked_by == "user ann"
    with pytest.raises(InvalidToken, match="revoked"):
        tokens.verify(token)
    assert recheck({held.proof: held.user}) == {held.proof: None}  # type: ignore[dict-item]
    assert tokens.verify(other)


def test_revoke__a_token_of_another_service(settings: Any) -> None:
    settings.PROGRESS_TOKEN_KEYS = KEYS
    revoke_token("token-1")
    with pytest.raises(InvalidToken, match="revoked"):
        tokens.verify(shared())
    row = AccessToken.objects.get()
    assert (row.jti, row.user, row.watch, row.expires) == ("token-1", None, None, None)


def test_revoke__again_changes_nothing() -> None:
    token = tokens.issue_token(jobs=["job-1"])
    revoke_token(name_of(token))
    (before,) = AccessToken.objects.values()
    revoke_token(name_of(token), by=User.objects.create_user("ann"))
    assert AccessToken.objects.values().get() == before


@pytest.mark.parametrize("jti", ["", "a b", "a\x00", "a" * 129])
def test_revoke__no_such_name(jti: str) -> None:
    with pytest.raises(ValueError, match="name"):
        revoke_token(jti)


def test_revoked_among__more_than_a_query_takes() -> None:
    revoke_token("token-1")
    assert revoked_among([f"token-{number}" for number in range(3_000)]) == {"token-1"}


def test_forget_expired__leaves_what_may_still_matter() -> None:
    now = timezone.now()
    revoke_token("expired", expires=now - timedelta(hours=25))
    revoke_token("valid-where-a-clock-is-behind", expires=now - timedelta(hours=1))
    revoke_token("valid", expires=now + timedelta(hours=1))
    revoke_token("for-ever")
    list(housekeeping.forget_expired())  # which calls this one
    assert not revoked_among(["expired"])
    assert AccessToken.objects.count() == 3


def test_actions__who_issued_and_revoked_is_kept_with_the_jobs_and_outlives_the_token() -> None:
    ann = User.objects.create_user("ann")
    token = tokens.issue_token(jobs=["job-1", "import-*"], by=ann)
    revoke_token(name_of(token), by=Actor.command("revoke_token"))
    revoke_token("theirs")
    AccessToken.objects.all().delete()
    done = JobAction.objects.order_by("id").values_list("action", "actor", "job_id", "seq")
    assert list(done) == [
        ("issue", "ann", "job-1", None),
        ("issue", "ann", "import-*", None),
        ("revoke", "revoke_token", "job-1", None),
        ("revoke", "revoke_token", "import-*", None),
        ("revoke", "", "", None),
    ]
    assert all(name_of(token) in action.detail for action in JobAction.objects.exclude(job_id=""))


def test_actions__are_kept_with_the_token_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "record_of_token", mock.Mock(side_effect=RuntimeError))
    with pytest.raises(RuntimeError):
        tokens.issue_token(jobs=["job-1"])
    assert not AccessToken.objects.exists()

"""The commands that issue, revoke and forget tokens."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from progress.identity import tokens
from progress.models import AccessToken
from progress.protocol.exceptions import InvalidToken
from tests.progress.identity.test_revocation import name_of

pytestmark = pytest.mark.django_db


def test_issue_token__prints_the_token_alone(capsys: Any) -> None:
    ann = User.objects.create_user("ann")
    call_command("issue_token", "--user=ann", "--job=a", "--job=b-*", "--feed=mine", "--seconds=60", "--note=mine")
    printed = capsys.readouterr().out
    identity = tokens.verify(printed.removesuffix("\n"))
    assert identity.user == ann
    row = AccessToken.objects.get()
    assert (row.watch, row.note) == ({"jobs": ["a", "b-*"], "feed": "mine"}, "mine")
    assert row.created_by == "command issue_token"


@pytest.mark.parametrize("options", [[], ["--user=nobody"], ["--job=*"], ["--job=a", "--seconds=1e9"]], ids=str)
def test_issue_token__says_what_is_wrong(options: list[str]) -> None:
    with pytest.raises(CommandError, match=r"There is no user|No token was issued: .*\."):
        call_command("issue_token", *options)


def test_revoke_token__by_name(capsys: Any) -> None:
    token = tokens.issue_token(jobs=["a"])
    call_command("revoke_token", name_of(token), "theirs")
    assert capsys.readouterr().out == f"Revoked {name_of(token)}\nRevoked theirs\n"
    with pytest.raises(InvalidToken):
        tokens.verify(token)
    with pytest.raises(CommandError, match="name"):
        call_command("revoke_token", "a b")

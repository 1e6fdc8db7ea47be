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
    printed, said = capsys.readouterr()
    identity = tokens.verify(printed.removesuffix("\n"))
    assert identity.user == ann
    row = AccessToken.objects.get()
    assert (row.watch, row.note) == ({"jobs": ["a", "b-*"], "feed": "mine"}, "mine")
    assert row.created_by == "command issue_token"
    assert row.jti in said
    assert "There is no job 'a' yet." in said
    assert "link" not in said  # it is for more than one


def test_issue_token__for_one_job_it_is_a_link(capsys: Any, make_job: Any) -> None:
    make_job("job-1")
    call_command("issue_token", "--job=job-1")
    printed, said = capsys.readouterr()
    assert f"/jobs/job-1/#t={printed}" in said
    assert "There is no job" not in said


@pytest.mark.parametrize("options", [[], ["--user=nobody"], ["--job=*"], ["--job=a", "--seconds=1e9"]], ids=str)
def test_issue_token__says_what_is_wrong(options: list[str]) -> None:
    with pytest.raises(CommandError, match=r"There is no user|No token was issued: .*\."):
        call_command("issue_token", *options)


def test_revoke_token__by_name(capsys: Any) -> None:
    token = tokens.issue_token(jobs=["a"])
    call_command("revoke_token", name_of(token), "theirs")
    said = f"Revoked {name_of(token)}\nRevoked theirs, which this site has not issued: is it right?\n"
    assert capsys.readouterr().out == said
    with pytest.raises(InvalidToken):
        tokens.verify(token)
    with pytest.raises(CommandError, match="name"):
        call_command("revoke_token", "a b")

"""Tokens in the admin: listed, revoked, and share links made; nothing is edited."""

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from progress.identity import tokens
from progress.identity.revocation import revoke_token
from progress.models import AccessToken
from progress.protocol.exceptions import InvalidToken
from tests.progress.identity.test_revocation import name_of

pytestmark = pytest.mark.django_db

LIST = "/admin/progress/accesstoken/"


def staff(*permissions: str) -> tuple[User, Client]:
    user = User.objects.create(username=f"staff-{User.objects.count()}", is_staff=True)
    codenames = [f"{name}_accesstoken" for name in permissions]
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return user, client


def test_list__shows_what_is_known_and_no_token() -> None:
    ann = User.objects.create_user("ann")
    issued = [
        tokens.issue_token(ann, feed="mine", note="for the dashboard"),
        tokens.issue_token(jobs=["job-1", "import-*"]),
        tokens.issue_token(ann),
    ]
    revoke_token("theirs", expires=timezone.now() + timedelta(hours=1))
    AccessToken.objects.filter(jti=name_of(issued[2])).update(expires=timezone.now())
    page = staff("view")[1].get(LIST).text
    for words in ("for the dashboard", "jobs job-1, import-*", "the feed mine", "What its user may see", "theirs"):
        assert words in page
    for state in ("Valid", "Expired", "Revoked"):
        assert f">{state}<" in page
    assert not any(part in page for token in issued for part in token.split(".")[1:])


def test_detail__edits_nothing() -> None:
    jti = name_of(tokens.issue_token(jobs=["job-1"], note="a note"))
    _, client = staff("view", "change", "delete")
    page = client.get(f"{LIST}{jti}/change/").text
    assert "a note" in page
    assert "jobs job-1" in page
    assert not re.search(r'<(?:input|textarea|select)[^>]* name="(?!csrf|next)', page.partition('id="content-main"')[2])
    assert client.post(f"{LIST}{jti}/change/", {"note": "another"}).status_code == 403
    assert client.post(f"{LIST}{jti}/delete/", {"post": "yes"}).status_code == 403
    assert AccessToken.objects.get().note == "a note"


def share(client: Client, **fields: Any) -> Any:
    return client.post(f"{LIST}add/", {"job_id": "job-1", "hours": 24, "note": "for the accountants", **fields})


def test_share__shows_the_link_once(make_job: Any) -> None:
    user, client = staff("add")
    make_job("job-1", owner=user)
    assert 'name="job_id"' in client.get(f"{LIST}add/").text
    answer = share(client)
    found = re.search(r"http://testserver/jobs/job-1/#t=([\w.-]+)", html.unescape(answer.text))
    assert found is not None
    assert "no-store" in answer.headers["Cache-Control"]
    assert tokens.verify(found[1]).rights.admits("job-1")
    row = AccessToken.objects.get()
    assert (row.created_by, row.note, row.watch) == (f"user {user}", "for the accountants", {"jobs": ["job-1"]})
    assert row.expires is not None
    assert timedelta(hours=23) < row.expires - timezone.now() <= timedelta(hours=24)
    kept = [*LogEntry.objects.values(), *AccessToken.objects.values(), client.cookies.items(), client.session.items()]
    assert found[1].split(".")[2] not in str(kept)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"job_id": "hidden"}, "There is no such job"),
        ({"job_id": "no-such-job"}, "There is no such job"),
        ({"job_id": "job-*"}, "There is no such job"),
        ({"hours": "0"}, "greater than or equal to 1"),
        ({"hours": "721"}, "A token may last for 720 hours"),
    ],
)
def test_share__what_may_not_be_shared(make_job: Any, fields: dict[str, str], words: str) -> None:
    user, client = staff("add")
    make_job("job-1", owner=user)
    make_job("hidden")
    assert words in html.unescape(share(client, **fields).text)
    assert not AccessToken.objects.exists()


def test_share__takes_the_permission(make_job: Any) -> None:
    make_job("job-1", public=True)
    assert share(staff("view", "change")[1]).status_code == 403


def revoke(client: Client, *jtis: str) -> Any:
    return client.post(LIST, {"action": "revoke_tokens", "_selected_action": jtis}, follow=True)


def test_revoke__the_chosen_ones() -> None:
    token, other = tokens.issue_token(jobs=["job-1"]), tokens.issue_token(jobs=["job-1"])
    user, client = staff("change")
    assert "revoked." in revoke(client, name_of(token)).text
    with pytest.raises(InvalidToken):
        tokens.verify(token)
    assert tokens.verify(other)
    assert AccessToken.objects.get(revoked_at__isnull=False).revoked_by == f"user {user}"
    assert LogEntry.objects.get().change_message == "Revoked."


def test_revoke__takes_the_permission() -> None:
    token = tokens.issue_token(jobs=["job-1"])
    revoke(staff("view")[1], name_of(token))
    assert tokens.verify(token)


def test_user__with_tokens_can_be_deleted() -> None:
    ann = User.objects.create_user("ann")
    tokens.issue_token(ann, by=ann)
    root = User.objects.create_superuser("root")
    client = Client()
    client.force_login(root)
    client.post(f"/admin/auth/user/{ann.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(username="ann").exists()
    assert (
        client.get(LIST).status_code == client.get(f"{LIST}{AccessToken.objects.get().pk}/change/").status_code == 200
    )

"""Rows by very many keys, in one query."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.among import among

pytestmark = pytest.mark.django_db


class Key(str):
    """A string that JSON need not take for one."""

    __slots__ = ()


def test_among__finds_those_there_are_by_one_query_for_thousands() -> None:
    User.objects.bulk_create(User(username=f"user-{number}") for number in range(1_200))
    pks = list(User.objects.values_list("pk", flat=True))
    with CaptureQueriesContext(connection) as queries:
        found = set(User.objects.filter(among([*pks[:1_100], *range(-3_000, 0)])).values_list("pk", flat=True))
    assert (found, len(queries)) == (set(pks[:1_100]), 1)


@pytest.mark.parametrize("kind", [str, Key])
def test_among__strings_as_they_are(kind: Any) -> None:
    keys = ["a", "A", "1", "it's", '"', "é", "a,b", "{}", "%s"]
    Session.objects.bulk_create(Session(session_key=key, expire_date=timezone.now()) for key in keys)
    for key in keys:
        assert [session.pk for session in Session.objects.filter(among([kind(key), kind("other")]))] == [key]
    assert not Session.objects.filter(among([]))

"""The site's sessions: what a stranger may send in place of one."""

from importlib import import_module
from typing import Any

import pytest
from django.conf import settings
from django.test import Client


@pytest.mark.django_db
@pytest.mark.parametrize("key", ['"abcdefgh\\000"', '"\\012abcdefgh"'])
def test_session__with_a_key_that_no_store_could_have_made_is_nobodys(monkeypatch: Any, key: str) -> None:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    monkeypatch.setattr(store, "load", lambda self: pytest.fail("it was looked for, which PostgreSQL refuses"))
    answer = Client().get("/", headers={"cookie": f"{settings.SESSION_COOKIE_NAME}={key}"})
    assert answer.status_code == 200
    assert answer.wsgi_request.user.is_anonymous

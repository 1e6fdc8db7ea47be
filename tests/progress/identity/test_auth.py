"""Whose socket it is, and from whose page it came."""

from importlib import import_module
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User

from progress.identity import auth, tokens
from progress.protocol.codes import CloseCode, ErrorCode
from progress.protocol.exceptions import Refused


def a_request(
    *headers: tuple[str, str], scheme: str = "ws", host: str = "localhost:8000", kind: str = "websocket"
) -> Any:
    every = [(b"host", host.encode()), *((name.encode(), value.encode()) for name, value in headers)]
    scope = {"type": kind, "path": "/progress/ws", "query_string": b"", "headers": every, "scheme": scheme}
    return auth.request_of(scope)


def is_foreign(origin: str, **options: str) -> bool:
    return auth.is_foreign(a_request(("origin", origin), **options))


@pytest.mark.parametrize("key", ['"abcdefgh\\000"', '"\\012abcdefgh"'])
def test_identify__a_cookie_that_no_store_could_have_made_is_nobodys(monkeypatch, key):
    """PostgreSQL refuses to look for a NUL; the client would be told to come back, for ever."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    monkeypatch.setattr(store, "load", lambda self: pytest.fail("it was looked for"))
    cookie = ("cookie", f"{settings.SESSION_COOKIE_NAME}={key}")
    assert auth.identify(a_request(cookie, ("origin", "http://localhost:8000"))).user.is_anonymous


def test_is_foreign__the_same_site():
    assert not is_foreign("http://localhost:8000")
    assert not is_foreign("https://localhost", scheme="wss", host="localhost")


def test_is_foreign__no_origin_is_no_browser():
    assert not auth.is_foreign(a_request())


@pytest.mark.parametrize(
    "origin",
    [
        "http://example.com:8000",  # another host
        "http://localhost",  # another port
        "http://localhost:8001",
        "https://localhost:8000",  # another scheme
        "ws://localhost:8000",
        "http://localhost:8000.example.com",
        "http://localhost:8000@example.com",
        "http://user@localhost:8000",
        "http://localhost:8000/",
        "//localhost:8000",
        "localhost:8000",
        "null",
        "",
        "http://",
        "http://[::1",
        "http://[",
        "://",
        "http://localhost:8000, http://example.com",
        "\x00",
    ],
)
def test_is_foreign__another_or_malformed_origin(origin):
    assert is_foreign(origin)


def test_is_foreign__a_second_origin_header():
    origins = [("origin", "http://localhost:8000"), ("origin", "http://example.com")]
    assert auth.is_foreign(a_request(*origins))


def test_is_foreign__a_host_that_is_not_served(settings):
    settings.ALLOWED_HOSTS = ["example.com"]
    assert is_foreign("http://localhost:8000")


@pytest.mark.parametrize(
    ("trusted", "origin", "foreign"),
    [
        ("https://example.com", "https://example.com", False),
        ("https://example.com", "http://example.com", True),
        ("https://example.com", "https://www.example.com", True),
        ("https://example.com:8443", "https://example.com:8443", False),
        ("https://example.com:8443", "https://example.com", True),
        ("https://*.example.com", "https://www.example.com", False),
        ("https://*.example.com", "https://a.b.example.com", False),
        ("https://*.example.com", "http://www.example.com", True),
        ("https://*.example.com", "https://badexample.com", True),
        ("https://*.example.com", "https://example.com.evil.org", True),
        ("https://*", "https://example.com", True),
    ],
)
def test_is_foreign__trusted_origins(settings, trusted, origin, foreign):
    settings.CSRF_TRUSTED_ORIGINS = [trusted]
    assert is_foreign(origin) is foreign


@pytest.fixture
def user(db):
    return User.objects.create_user("ann", password="first")


def cookie_of(user: User) -> tuple[str, str]:
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return "cookie", f"{settings.SESSION_COOKIE_NAME}={session.session_key}"


OURS = "origin", "http://localhost:8000"


def test_identify__by_cookie_of_our_own_page(user):
    client = auth.identify(a_request(OURS, cookie_of(user)))
    assert client.user == user
    assert client.expires is None


def test_identify__a_cookie_without_an_origin_is_ignored(user):
    assert auth.identify(a_request(cookie_of(user))).user.is_anonymous


@pytest.mark.parametrize(
    ("headers", "counts"),
    [
        ([], False),
        ([("sec-fetch-site", "same-origin")], True),
        ([("sec-fetch-site", "same-site")], False),
        ([("sec-fetch-site", "cross-site"), ("referer", "http://localhost:8000/jobs/")], False),
        ([("sec-fetch-site", "none")], False),
        ([("referer", "http://localhost:8000/jobs/")], True),
        ([("referer", "http://localhost:8000")], False),
        ([("referer", "http://localhost:80001/")], False),
        ([("referer", "http://localhost:8000.example.com/")], False),
        ([("referer", "https://example.com/http://localhost:8000/")], False),
        ([OURS], True),
    ],
    ids=str,
)
def test_identify__a_cookie_of_a_stream(user, headers, counts):
    request = a_request(cookie_of(user), *headers, scheme="http", kind="http")
    assert auth.identify(request).user.is_authenticated is counts
    is_of_socket = headers == [OURS]
    assert auth.identify(a_request(cookie_of(user), *headers)).user.is_authenticated is is_of_socket


def test_is_of_a_page__of_a_host_that_is_not_served():
    headers = ("referer", "http://elsewhere.example/")
    assert not auth.is_of_a_page(a_request(headers, scheme="http", host="elsewhere.example", kind="http"))


def test_identify__a_cookie_of_nobody(db):
    assert auth.identify(a_request(OURS, ("cookie", f"{settings.SESSION_COOKIE_NAME}=nothing"))).user.is_anonymous


def test_identify__a_cookie_from_before_a_new_password(user):
    cookie = cookie_of(user)
    user.set_password("second")
    user.save()
    assert auth.identify(a_request(OURS, cookie)).user.is_anonymous


def test_identify__a_cookie_of_an_inactive_user(user):
    cookie = cookie_of(user)
    User.objects.update(is_active=False)
    assert auth.identify(a_request(OURS, cookie)).user.is_anonymous


def test_identify__nobody():
    assert auth.identify(a_request()).user.is_anonymous


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_identify__by_token(user, scheme):
    client = auth.identify(a_request(("authorization", f"{scheme} {tokens.issue_token(user)}")))
    assert client.user == user
    assert client.expires is not None


def test_identify__the_token_comes_before_the_cookie(user):
    other = User.objects.create_user("bob")
    client = auth.identify(a_request(OURS, cookie_of(user), ("authorization", f"Bearer {tokens.issue_token(other)}")))
    assert client.user == other


@pytest.mark.parametrize("token", ["", "forged", "a:b:c", "é"])
def test_identify__a_bad_token_is_refused_rather_than_passed_over(user, token):
    with pytest.raises(Refused) as caught:
        auth.identify(a_request(OURS, cookie_of(user), ("authorization", f"Bearer {token}")))
    assert caught.value.code is ErrorCode.NOT_AUTHENTICATED
    assert caught.value.close is CloseCode.NOT_AUTHENTICATED


def test_identify__another_scheme_of_authorization_is_not_ours(db):
    assert auth.identify(a_request(("authorization", "Basic YTpi"))).user.is_anonymous


@pytest.mark.parametrize("fallbacks", [True, False])
def test_identify__changes_no_session_when_the_secret_key_was_rotated(user, settings, fallbacks):
    """Django gives such a session a new key, and one of a key that is no more it ends; but nobody tells the browser."""
    name, cookie = cookie_of(user)
    former = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another" * 9, [former] if fallbacks else []
    for _ in range(2):
        assert (auth.identify(a_request(OURS, (name, cookie))).user == user) is fallbacks
    assert import_module(settings.SESSION_ENGINE).SessionStore().exists(cookie.partition("=")[2])


@pytest.mark.parametrize(
    ("said", "foreign"), [("https", False), ("wss", False), ("http", True), ("ws", True), ("", True), (None, True)]
)
def test_is_foreign__a_trusted_proxy_says_the_scheme(settings, said, foreign):
    settings.SECURE_PROXY_SSL_HEADER = "HTTP_X_FORWARDED_PROTO", "https"
    headers = [("origin", "https://localhost")] + ([("x-forwarded-proto", said)] if said is not None else [])
    assert auth.is_foreign(a_request(*headers, host="localhost")) is foreign
    others = [("origin", "http://localhost"), *headers[1:]]
    assert auth.is_foreign(a_request(*others, host="localhost")) is not foreign

"""Whether what clients have shown still holds, whatever keeps sessions and users."""

from importlib import import_module
from typing import Any

import pytest
from django.conf import settings as site_settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from django.test.utils import CaptureQueriesContext

from progress.identity import auth, sessions, tokens
from progress.identity.identity import Identity, Proof
from progress.identity.recheck import recheck
from tests.progress.identity.test_auth import OURS, a_request, cookie_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ann", password="old")


def by_session(user: User) -> Identity:
    return auth.identify(a_request(OURS, cookie_of(user)))


def by_token(user: User) -> Identity:
    return tokens.verify(tokens.issue_token(user))


def known(*identities: Identity) -> dict[Proof, Any]:
    return {identity.proof: identity.user for identity in identities if identity.proof is not None}


def holds(identity: Identity) -> bool:
    assert identity.proof is not None
    return recheck({identity.proof: identity.user})[identity.proof] is not None


def test_anonymous__has_nothing_that_could_end():
    identity = auth.identify(a_request(OURS))
    assert (identity.user, identity.proof) == (AnonymousUser(), None)
    assert recheck({}) == {}


@pytest.mark.parametrize("show", [by_session, by_token])
def test_recheck__is_the_user_as_they_are_now(user, show):
    identity = show(user)
    User.objects.update(is_staff=True)
    (renewed_user,) = recheck({identity.proof: identity.user}).values()
    assert (renewed_user, renewed_user.is_staff, identity.user.is_staff) == (user, True, False)


@pytest.mark.parametrize("show", [by_session, by_token])
@pytest.mark.parametrize("change", ["password", "is_active", "delete"])
def test_recheck__without_those_whose_user_changed(user, show, change):
    identity = show(user)
    assert holds(identity)
    match change:
        case "password":
            user.set_password("new")
            user.save()
        case "is_active":
            User.objects.update(is_active=False)
        case "delete":
            user.delete()
    assert not holds(identity)


def test_proof__shows_no_secret(user):
    identity = by_session(user)
    assert identity.proof.session_key not in repr(identity)
    assert identity.proof.password_hash not in repr(identity)


@pytest.mark.parametrize("show", [by_session, by_token])
def test_recheck__after_a_rotation_of_the_secret_key(settings, user, show):
    identity = Identity(AnonymousUser(), proof=show(user).proof)  # so that the password has to be hashed
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    assert holds(identity)
    settings.SECRET_KEY_FALLBACKS = []
    assert not holds(identity)


@pytest.fixture(params=["db", "cached_db", "cache", "file"])
def each_store(request, settings, tmp_path):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}


@pytest.mark.usefixtures("each_store")
def test_session__that_ends_in_any_store(user):
    identity = by_session(user)
    assert holds(identity)
    import_module(site_settings.SESSION_ENGINE).SessionStore(identity.proof.session_key).delete()
    assert not holds(identity)


@pytest.mark.usefixtures("each_store")
def test_session__that_is_emptied_and_kept_in_any_store(user):
    identity = by_session(user)
    assert holds(identity)
    session = import_module(site_settings.SESSION_ENGINE).SessionStore(identity.proof.session_key)
    session["visited"] = True
    session.save()
    assert holds(identity)
    session.clear()
    session.save()
    assert not holds(identity)
    assert session.exists(identity.proof.session_key)


def test_session__is_decoded_when_it_has_been_saved_and_not_again(user, monkeypatch):
    identity, decoded = by_session(user), []
    decode = SessionStore.decode
    monkeypatch.setattr(SessionStore, "decode", lambda self, data: decoded.append(data) or decode(self, data))
    for _ in range(3):
        assert holds(identity)
    assert len(decoded) == 1
    SessionStore(identity.proof.session_key).save()
    decoded.clear()
    for _ in range(3):
        assert holds(identity)
    assert len(decoded) == 1
    monkeypatch.setattr(sessions, "REMEMBERED", 0)
    sessions._signed_in.clear()
    assert holds(identity), "whatever is remembered"


def test_session__that_lives_in_the_browser_ends_with_its_user_only(settings, user):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    identity = by_session(user)
    assert holds(identity)
    User.objects.update(is_active=False)
    assert not holds(identity)


class Directory(ModelBackend):
    """Knows users of its own, and lets in those who are not active."""

    fails: Any = None

    def get_user(self, user_id: Any) -> Any:
        if self.fails is not None:
            raise self.fails
        return User.objects.get(pk=user_id)


class Banning(ModelBackend):
    """Has Django's own hook say who may enter."""

    banned: frozenset[str] = frozenset()

    def user_can_authenticate(self, user: Any) -> bool:
        return user.username not in self.banned


def by_backend(user: User, backend: type) -> Identity:
    key = cookie_of(user)[1].partition("=")[2]
    path = f"{__name__}.{backend.__name__}"
    return Identity(user, proof=Proof("session", user.pk, user.get_session_auth_hash(), path, key))


def test_backend__of_the_hosts_own_says_who_a_user_is(user, monkeypatch):
    User.objects.update(is_active=False)
    identity, other = by_backend(user, Directory), by_session(User.objects.create_user("ben"))
    assert holds(identity), "it lets in who is not active"
    monkeypatch.setattr(Directory, "fails", RuntimeError("the directory is away"))
    assert set(recheck(known(identity, other))) == {other.proof}, "what it can't say is left out, and harms nobody"
    monkeypatch.setattr(Directory, "fails", None)
    User.objects.filter(pk=user.pk).delete()
    assert not holds(identity)
    assert holds(other)


def test_backend__with_djangos_hook(user, monkeypatch):
    identity = by_backend(user, Banning)
    assert holds(identity)
    monkeypatch.setattr(Banning, "banned", frozenset({"ann"}))
    assert not holds(identity)


def test_token__of_a_host_without_sessions(settings, user):
    settings.SESSION_ENGINE = "no.such.engine"
    assert holds(by_token(user))


def test_session__in_a_store_that_fails_is_left_out(settings, user, monkeypatch):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    identity, token = by_session(user), by_token(user)
    monkeypatch.setattr("django.contrib.sessions.backends.cache.SessionStore.load", lambda _: 1 / 0)
    assert set(recheck(known(identity, token))) == {token.proof}


def test_hash__of_a_user_model_with_more_in_it_than_the_password(user, monkeypatch):
    identity = by_session(user)
    monkeypatch.setattr(User, "get_session_auth_hash", lambda _: "another", raising=False)
    assert not holds(identity), "signed out everywhere"


def test_queries__as_many_for_any_number():
    identities = [by_session(User.objects.create_user(f"user-{number}")) for number in range(5)]
    identities += [by_token(User.objects.get(username="user-0"))]
    recheck(known(*identities))  # after which what their sessions hold is known
    with CaptureQueriesContext(connection) as queries:
        assert set(recheck(known(*identities))) == {identity.proof for identity in identities}
    assert len(queries) == 4, "users by either backend, sessions, tokens"

"""Which user a socket or a stream belongs to, and whether a page of this site opened it."""

from importlib import import_module
from io import BytesIO
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.utils.http import is_same_domain

from ..protocol.codes import CloseCode, ErrorCode
from ..protocol.exceptions import InvalidToken, Refused
from .identity import Identity, Proof
from .tokens import verify

SCHEMES = {"ws": "http", "wss": "https"}


class ReadOnlySession(dict[str, Any]):
    """The data of a session, without its storage.

    `django.contrib.auth.get_user` gives a session that was signed with an old SECRET_KEY a new key, and deletes one
    whose key it does not know. A socket can't send the browser the new cookie, so the user would be signed out.
    """

    def cycle_key(self) -> None:
        """Keep the session's key."""

    def flush(self) -> None:
        """Keep the session."""


def request_of(scope: dict[str, Any]) -> HttpRequest:
    """Return the handshake of a WebSocket, or a request, so that Django's rules for hosts and cookies apply."""
    scheme = scope.get("scheme", "ws")
    request = ASGIRequest({**scope, "method": "GET", "scheme": SCHEMES.get(scheme, scheme)}, BytesIO())
    if settings.SECURE_PROXY_SSL_HEADER:
        name = settings.SECURE_PROXY_SSL_HEADER[0]
        if (value := request.META.get(name)) in SCHEMES:
            request.META[name] = SCHEMES[value]  # Traefik sends wss where others send https
    return request


def is_foreign(request: HttpRequest) -> bool:
    """Return whether a browser opened the socket or the stream from a page of another site.

    The rule is that of Django's CSRF protection: the origin must be the request's own scheme and host, or listed in
    CSRF_TRUSTED_ORIGINS. A client that sends no Origin is not a browser.
    """
    origin = request.META.get("HTTP_ORIGIN")
    if origin is None:
        return False
    own = _origin_of(request)
    return own is None or (
        origin != own and not any(_matches(origin, trusted) for trusted in settings.CSRF_TRUSTED_ORIGINS)
    )


def is_of_a_page(request: HttpRequest) -> bool:
    """Return whether a browser sent this for a page that may use its cookies, if the request is not `is_foreign`.

    A browser names the ``Origin`` of each WebSocket. For a GET within a site it does not: there ``Sec-Fetch-Site`` says
    so, or where the site has no TLS and browsers leave that out, the ``Referer``. No page can forge either.
    """
    if "HTTP_ORIGIN" in request.META:
        return True
    if getattr(request, "scope", {}).get("type") == "websocket":
        return False
    own = _origin_of(request)
    if own is None:
        return False
    if (site := request.META.get("HTTP_SEC_FETCH_SITE")) is not None:
        return bool(site == "same-origin")
    return bool(request.META.get("HTTP_REFERER", "").startswith(f"{own}/"))


def has_credentials(request: HttpRequest) -> bool:
    """Return whether there is a token or a cookie; if not, the client is anonymous and nothing need be read."""
    return "HTTP_AUTHORIZATION" in request.META or "HTTP_COOKIE" in request.META


def identify(request: HttpRequest) -> Identity:
    """Return who opened the socket or the stream: by token, or by a browser's session cookie. Reads the database.

    Raises:
        Refused: The token is not valid.

    """
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer":
        return verify_token(token.strip())
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if key is None or not key.isprintable() or not is_of_a_page(request):
        return Identity(AnonymousUser())
    store = import_module(settings.SESSION_ENGINE).SessionStore(key)
    request.session = session = ReadOnlySession(store.items())  # type: ignore[assignment]  # all that `get_user` uses
    user = auth.get_user(request)
    if not user.is_authenticated:
        return Identity(AnonymousUser())
    proof = Proof(
        kind="session",
        user_id=get_user_model()._meta.pk.to_python(session[auth.SESSION_KEY]),
        password_hash=session.get(auth.HASH_SESSION_KEY, ""),
        backend=session[auth.BACKEND_SESSION_KEY],
        session_key=key,
    )
    return Identity(user, proof=proof)


def verify_token(token: str) -> Identity:
    """Return the identity of a token's user. Reads the database.

    Raises:
        Refused: The token is not valid.

    """
    try:
        return verify(token)
    except InvalidToken as error:
        raise Refused(
            ErrorCode.NOT_AUTHENTICATED, "The token is not valid", close=CloseCode.NOT_AUTHENTICATED
        ) from error


def _origin_of(request: HttpRequest) -> str | None:
    """Return the origin that the request itself has; None if it is for a host that is not served."""
    try:
        return f"{request.scheme}://{request.get_host()}"
    except DisallowedHost:
        return None


def _matches(origin: str, trusted: str) -> bool:
    """Return whether an origin matches a trusted one, which may have a ``*`` for all subdomains."""
    scheme, _, host = trusted.partition("://")
    if not host.startswith("*"):
        return origin == trusted
    origin_scheme, _, origin_host = origin.partition("://")
    return origin_scheme == scheme and is_same_domain(origin_host, host.removeprefix("*"))

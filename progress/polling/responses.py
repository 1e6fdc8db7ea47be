"""The HTTP responses, with headers that say all that caches need to know: none varies by what a client sends."""

from http import HTTPMethod

from django.http import HttpResponse

from ..conf import conf
from ..protocol import frames
from ..protocol.codes import ErrorCode, status_of
from ..protocol.exceptions import Refused
from .pieces import Piece, body_of

LIVE_SECONDS = 10  # for which the newest events are kept under a position: who comes later gets larger pieces
BRIEF_SECONDS = 1  # for what may be another soon; never 0, or a cache has those who wait ask one after another
RETRY_SECONDS = {ErrorCode.TOO_MANY_WAITS: 2, ErrorCode.UNAVAILABLE: 1}
PRIVATE = "private, no-store"


def response_of(piece: Piece, wave: int | None, *, is_public: bool, is_snapshot: bool = False) -> HttpResponse:
    """Return the response that holds a piece.

    Args:
        piece: The piece.
        wave: The window to ask for next; None where nobody can wait.
        is_public: Whether any cache may keep it.
        is_snapshot: Whether it holds a snapshot.

    """
    if piece.is_whole:
        cache, wave = f"public, max-age={conf.PAGE_SECONDS}, immutable", None
    elif piece.frames and not is_snapshot:
        cache = f"public, max-age={min(LIVE_SECONDS, conf.PAGE_SECONDS)}"
    else:
        cache = f"public, max-age={BRIEF_SECONDS}"
    return _response(body_of(piece, wave), 200, cache if is_public else PRIVATE, is_public=is_public)


def refusal_response(refused: Refused, *, is_public: bool) -> HttpResponse:
    """Return the response to a request that is refused: the ``error`` frame, as a socket gets it."""
    body = frames.error(refused).payload + b"\n"
    cache = f"public, max-age={BRIEF_SECONDS}" if is_public else PRIVATE
    retry = RETRY_SECONDS.get(refused.code)
    response = _response(body, status_of(refused.code), "no-store" if retry else cache, is_public=is_public)
    if retry:
        response["Retry-After"] = str(retry)
    if refused.code is ErrorCode.METHOD_NOT_ALLOWED:
        response["Allow"] = f"{HTTPMethod.GET}, {HTTPMethod.HEAD}"
    return response


def _response(body: bytes, status: int, cache: str, *, is_public: bool) -> HttpResponse:
    response = HttpResponse(body, content_type="application/json", status=status)
    response["Content-Length"] = str(len(body))
    response["Cache-Control"] = cache
    response["X-Content-Type-Options"] = "nosniff"
    if is_public:
        response["Access-Control-Allow-Origin"] = "*"
    return response

"""The two forms of the one GET: public, for any cache, and private, for one client.

Both are asynchronous. Under WSGI nobody waits: then each answer is what the log has now, and names no window.
"""

import copy
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import Error
from django.http import HttpRequest, HttpResponse

from ..delivery import reads
from ..identity.auth import has_credentials, identify, is_foreign
from ..identity.identity import ANYBODY, Identity
from ..identity.limits import network_of
from ..protocol.codes import ErrorCode
from ..protocol.exceptions import Refused
from . import log, waits, windows
from .asked import Asked, asked_by, client_of
from .pieces import Piece
from .refusals import invalid_window, unavailable
from .responses import refusal_response, response_of
from .waits import Look, now_ms

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
Answer = Callable[[HttpRequest, str], Coroutine[Any, Any, HttpResponse]]


def _answering(*, is_public: bool) -> Callable[[Answer], Answer]:
    """Turn what an answer raises into a response of its form; refuse methods other than GET and HEAD."""

    def decorated(answer: Answer) -> Answer:
        @wraps(answer)
        async def view(request: HttpRequest, path: str) -> HttpResponse:
            try:
                if request.method not in ("GET", "HEAD"):
                    raise Refused(ErrorCode.METHOD_NOT_ALLOWED, "GET or HEAD")
                return await answer(request, path)
            except Refused as refused:
                return refusal_response(refused, is_public=is_public)
            except Error as error:
                logger.warning("A job can't be read: %s", error)
            except Exception:
                logger.exception("%s can't be answered", request.path)
            return refusal_response(unavailable(), is_public=is_public)

        return view

    return decorated


@_answering(is_public=True)
async def public(request: HttpRequest, path: str) -> HttpResponse:
    """Answer as to an anonymous visitor, whoever asks: no cookie, token or Origin is looked at."""
    asked = asked_by(path, request.META["QUERY_STRING"])
    read = partial(_visit, request, log.read, asked, ANYBODY.rights)
    if not isinstance(request, ASGIRequest):
        return response_of(await read(), None, is_public=True, is_snapshot=asked.since is None)
    present = waits.current()
    # What a request waits for does not change what the log says.
    look = partial(present.looks.once, asked._replace(wave=None), read)
    return await _answer(asked, look, lambda until: present.follow(asked, until, look), is_public=True)


@_answering(is_public=False)
async def private(request: HttpRequest, path: str) -> HttpResponse:
    """Answer one client, which is identified as by a socket's handshake, at a URL of its own."""
    asked = asked_by(client_of(path)[1], request.META["QUERY_STRING"])
    handshake = copy.copy(request)  # which is identified; the session of the request is to stay the host's
    if is_foreign(handshake):
        raise Refused(ErrorCode.FOREIGN_ORIGIN, "A page of another site may not ask")
    identity = ANYBODY

    async def look() -> Piece:
        nonlocal identity
        identity = await _identified(handshake)  # anew each time: it may have ended while the client waited
        return await _visit(request, log.read, asked, identity.rights)

    if not isinstance(request, ASGIRequest):
        return response_of(await look(), None, is_public=False, is_snapshot=asked.since is None)

    async def follow(until: int) -> Piece:
        piece = await look()
        if not piece.is_empty:
            return piece
        if identity.expires is not None:
            until = min(until, int(identity.expires.timestamp() * 1000))
        return await waits.current().follow_as(identity, _client(request, identity), asked, piece, until, look)

    return await _answer(asked, look, follow, is_public=False)


async def _visit(request: HttpRequest, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function that visits the database: in a thread for reads or, under WSGI, in that of the request."""
    if isinstance(request, ASGIRequest):
        return await reads.in_thread(function, *args, **kwargs)
    return await sync_to_async(function)(*args, **kwargs)


async def _answer(
    asked: Asked, look: Look, follow: Callable[[int], Awaitable[Piece]], *, is_public: bool
) -> HttpResponse:
    """Answer at once, or after a wait to the end of a window."""
    try:
        window = windows.waited_for(asked.job_id, asked.wave, now_ms())
    except ValueError as error:
        raise invalid_window("No answer has named a window so far ahead") from error
    piece = await (look() if window is None else follow(windows.end_of(asked.job_id, window)))
    wave = windows.named(asked.job_id, window, now_ms(), is_empty=piece.is_empty)
    return response_of(piece, wave, is_public=is_public, is_snapshot=asked.since is None)


async def _identified(handshake: HttpRequest) -> Identity:
    return await _visit(handshake, identify, handshake) if has_credentials(handshake) else ANYBODY


def _client(request: HttpRequest, identity: Identity) -> str:
    """Return what counts as one client, as for a socket."""
    if identity.user.is_authenticated:
        return f"user {identity.user.pk}"
    return f"address {network_of(request.META.get('REMOTE_ADDR') or 'unknown')}"

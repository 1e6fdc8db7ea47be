"""The ASGI application: it carries a session over a stream of server-sent events."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from django.http import HttpRequest

from ...delivery.connection import Connection
from ...identity.auth import is_foreign, request_of
from ...protocol import frames
from ...protocol.codes import CloseCode, ErrorCode
from ...protocol.exceptions import Refused
from ..asgi import Send
from ..session import Session, refusals
from .answer import BODY, LAST_ON_CONNECTION, Answer, Body, Headers, refusal
from .asgi import AsgiBody
from .encoding import COMMENT, Encoding, OneJob, SeveralJobs
from .wanted import wanted

COMMENT_SECONDS = 15.0  # between two comments: as the HTML Standard advises, for proxies that cut what is silent
GOODBYE_SECONDS = 0.1  # for the end of the stream to leave before the server cuts the connection


async def event_stream(scope: dict[str, Any], receive: Any, send: Send) -> None:
    """Serve one request. A server that shuts down cancels this; the stream then ends, and its client comes back."""
    request = request_of(scope)
    headers = _headers(scope, request)
    try:
        if scope["method"] != "GET":
            await _refuse(send, headers, Refused(ErrorCode.METHOD_NOT_ALLOWED, "Use GET."))
        elif is_foreign(request):
            origin = request.META.get("HTTP_ORIGIN")
            refusals.note("foreign origin", f"A page of another site was refused: Origin {origin!r:.100}")
            refused = Refused(ErrorCode.FOREIGN_ORIGIN, "A page of another site may not watch here")
            await _refuse(send, headers, refused)
        else:
            await _watch(scope, receive, send, request, headers)
    except Refused as refused:
        refusals.note(refused.code, f"A stream was refused: {refused}")
        await _refuse(send, headers, refused)


async def _watch(scope: dict[str, Any], receive: Any, send: Send, request: HttpRequest, headers: Headers) -> None:
    """Watch what the URL names, until the client is gone or the stream has ended.

    Raises:
        Refused: Nothing was watched, since the URL is malformed, or too many are opened from this address.

    """
    subscriptions = wanted(scope, request.META.get("HTTP_LAST_EVENT_ID"))
    positions = [(each.job_id, each.since) for each in subscriptions]
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    encoding = OneJob() if len(positions) == 1 else SeveralJobs(positions)
    body = _body(scope, send, encoding, partial(_resolve, ended))
    connection = Connection(Answer(body, headers), is_one_way=True)
    session = Session(connection, (scope.get("client") or ["unknown"])[0])
    waiting = [ended, asyncio.ensure_future(_until_gone(receive))]
    try:
        session.begin(request, lambda: subscriptions)
        while not (await asyncio.wait(waiting, timeout=COMMENT_SECONDS, return_when=asyncio.FIRST_COMPLETED))[0]:
            connection.send(COMMENT)
    except asyncio.CancelledError:
        connection.close(CloseCode.GOING_AWAY)
        await asyncio.sleep(GOODBYE_SECONDS)
        raise
    finally:
        for each in waiting:
            each.cancel()
        session.end()


def _body(scope: dict[str, Any], send: Send, encoding: Encoding, on_end: Callable[[], None]) -> Body:
    """Return the server's own sender of events if it has one, else one that uses ``send``."""
    make = scope.get("extensions", {}).get(BODY)
    own: Body | None = None if make is None else make(encoding)
    return AsgiBody(send, encoding, on_end) if own is None else own


def _resolve(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


async def _until_gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass  # the body of a GET means nothing


async def _refuse(send: Send, headers: Headers, refused: Refused) -> None:
    start, body = refusal(frames.error(refused), headers)
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _headers(scope: dict[str, Any], request: HttpRequest) -> Headers:
    """Return what every answer has for this request: a page of a trusted origin may read it."""
    headers = [LAST_ON_CONNECTION] if scope.get("http_version", "1.1").startswith("1") else []
    origin = request.META.get("HTTP_ORIGIN")
    if origin is not None and not is_foreign(request):
        own = (b"access-control-allow-origin", origin.encode("latin1"))
        headers += [own, (b"access-control-allow-credentials", b"true"), (b"vary", b"Origin")]
    return headers

"""Answers polls ahead of Django, whose own handler keeps a thread for each request, also while that only waits."""

import asyncio
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse

from .urls import poll_at

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Polls:
    """Answers polls, and passes every other request on.

    Args:
        application: The ASGI application for HTTP, such as Django's.

    """

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        poll = poll_at(scope["path"].removeprefix(scope.get("root_path", "")))
        if poll is None or not scope["query_string"].isascii():  # of which Django says what is wrong
            await self._application(scope, receive, send)
            return
        answer = asyncio.ensure_future(poll.func(ASGIRequest(scope, BytesIO()), **poll.kwargs))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                await _send(send, answer.result())
        finally:
            answer.cancel()
            gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, response: HttpResponse) -> None:
    headers = [(name.lower().encode("latin1"), value.encode("latin1")) for name, value in response.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})

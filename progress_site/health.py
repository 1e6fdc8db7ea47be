"""Whether this process is well: `/healthz` for proxies, `/readyz` for those who restart servers or watch over them.

Answered ahead of Django, on the event loop: no host name, redirect to HTTPS, session or busy thread is in the way. That
the loop answers at all is what a proxy wants to know, so that is all of `/healthz`. Whether the database answers as
well is not its business: it would be away for all servers at once, and a proxy that took out all of them would
refuse even what still works. A server that is draining answers neither: it accepts nothing, and says 503 on what it
has accepted before.
"""

import asyncio
import logging
import time
from http import HTTPStatus
from typing import Any

from django.db import Error

from jobs.models import ProcessingJob
from jobs.threads import ThreadPool
from progress.delivery.reads import limit_waiting

logger = logging.getLogger(__name__)

READY = "/readyz"
URLS = frozenset({"/healthz", READY})
ANSWER_SECONDS = 2.0  # in which the database has to answer
KEEP_SECONDS = 1.0  # for which its answer is good, so that strangers who ask cost it no more than one query a second
SILENT = f"no answer within {ANSWER_SECONDS:g} s"

# One thread of its own, since one that waits for a silent database can't be stopped, and watchers need theirs.
_pool = ThreadPool("progress-health", lambda: 1, limit_waiting)


class Database:
    """Whether the database answers, and has the table of jobs: asked once for all who want to know."""

    def __init__(self) -> None:
        self._question: asyncio.Future[str] | None = None
        self._asked_at = 0.0
        self._known = ""  # the trouble that was logged last

    async def trouble(self) -> str:
        """Return what is wrong, in words for the log; nothing if it answers."""
        if self._question is None or (self._question.done() and time.monotonic() - self._asked_at > KEEP_SECONDS):
            self._question, self._asked_at = asyncio.ensure_future(_pool.run(_trouble)), time.monotonic()
        answered, _ = await asyncio.wait([self._question], timeout=ANSWER_SECONDS)
        trouble = self._question.result() if answered else SILENT
        if trouble != self._known:
            self._known = trouble
            logger.warning("Not ready: %s", trouble) if trouble else logger.info("Ready again")
        return trouble


def _trouble() -> str:
    try:
        ProcessingJob.objects.exists()
    except Error as error:
        return str(error) or type(error).__name__
    return ""


class Health:
    """Answers the two URLs, and passes every other request on.

    Args:
        application: The ASGI application for HTTP.

    """

    def __init__(self, application: Any) -> None:
        self._application = application
        self._database = Database()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer a request."""
        path = scope["path"]
        if path not in URLS:
            await self._application(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await _answer(send, HTTPStatus.METHOD_NOT_ALLOWED, "GET or HEAD", (b"allow", b"GET, HEAD"))
        elif path == READY and await self._database.trouble():
            await _answer(send, HTTPStatus.SERVICE_UNAVAILABLE, "The database does not answer")
        else:
            await _answer(send, HTTPStatus.OK, "OK")


async def _answer(send: Any, status: HTTPStatus, words: str, *headers: tuple[bytes, bytes]) -> None:
    """Send a whole answer; servers leave the body out for HEAD."""
    body = f"{words}\n".encode()
    common = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status.value, "headers": [*common, *headers]})
    await send({"type": "http.response.body", "body": body})

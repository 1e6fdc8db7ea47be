"""What a request is answered: a stream, or a status and the ``error`` frame that a socket would get."""

import random
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Protocol

from ...delivery.chunks import Chunk
from ...delivery.connection import FlowControl, Sender
from ...protocol import frames
from ...protocol.codes import CloseCode, ErrorCode, status_of
from ...protocol.exceptions import Refused
from ...protocol.frames import Frame

Message = dict[str, Any]
Headers = Sequence[tuple[bytes, bytes]]

# The key in scope["extensions"] under which a server may give a maker of a `Body` of its own. It returns None where it
# has none for this connection, and raises `Refused` if the client opens too many.
BODY = "progress.body"

MORE_HEADERS: dict[int, Headers] = {
    HTTPStatus.UNAUTHORIZED: [(b"www-authenticate", b"Bearer")],
    HTTPStatus.METHOD_NOT_ALLOWED: [(b"allow", b"GET")],
    HTTPStatus.TOO_MANY_REQUESTS: [(b"retry-after", b"5")],
    HTTPStatus.SERVICE_UNAVAILABLE: [(b"retry-after", b"1")],
}
HEADERS: Headers = [
    (b"cache-control", b"no-store, no-transform"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-accel-buffering", b"no"),  # nginx hands on each event as it comes
]
# Of a stream: a connection that is used again would bring its client back to a server that is stopping.
LAST_ON_CONNECTION = b"connection", b"close"
RETRY_MILLISECONDS = 500, 1_500  # after which a client comes back, so that not all come at once


class Body(Sender, Protocol):
    """A sender of events, which has yet to begin the answer."""

    def begin(self, start: Message, first: bytes, /) -> None:
        """Send the ``http.response.start`` message, and the first bytes of the body."""


class Answer:
    """Begins the stream when the first event leaves. Errors before that wait: if nothing else comes, they are it.

    Args:
        body: What sends.
        headers: What every answer to this request has, beside the usual headers.

    """

    __slots__ = ("_body", "_errors", "_has_begun", "_headers")

    def __init__(self, body: Body, headers: Headers) -> None:
        self._body = body
        self._headers = headers
        self._errors: list[Frame] = []
        self._has_begun = False

    @property
    def flow(self) -> FlowControl | None:
        """What the body calls."""
        return self._body.flow

    @flow.setter
    def flow(self, flow: FlowControl | None) -> None:
        self._body.flow = flow

    @property
    def is_writable(self) -> bool:
        """Whether the body takes another chunk now."""
        return self._body.is_writable

    def write(self, chunk: Chunk) -> None:
        """Send frames, in order."""
        if self._has_begun:
            self._body.write(chunk)
        elif all(frame.code is not None for frame in chunk.frames):
            self._errors += chunk.frames
        else:
            self._has_begun = True
            pause = random.randint(*RETRY_MILLISECONDS)  # noqa: S311
            self._body.begin(stream_start(self._headers), b"retry: %d\n\n" % pause)
            if self._errors:
                self._body.write(Chunk(self._errors))
            self._body.write(chunk)

    def close(self, code: CloseCode) -> None:
        """End the stream, which says nothing of the reason: a client that comes back is told by the status."""
        self._answer(code)
        self._body.close(code)

    def abort(self, code: CloseCode) -> None:
        """End the stream without what is stuck."""
        if self._answer(code):
            self._body.close(code)
        else:
            self._body.abort(code)

    def stop(self) -> None:
        """Send nothing more."""
        self._body.stop()

    def _answer(self, code: CloseCode) -> bool:
        """Answer with the last error unless the stream has begun; return whether that was so."""
        if self._has_begun:
            return False
        self._has_begun = True
        error = self._errors[-1] if self._errors else frames.error(refusal_of(code))
        self._body.begin(*refusal(error, self._headers))
        return True


def stream_start(headers: Headers) -> Message:
    """Return the message that begins a stream."""
    own = [(b"content-type", b"text/event-stream"), *HEADERS, *headers]
    return {"type": "http.response.start", "status": HTTPStatus.OK.value, "headers": own}


def refusal(error: Frame, headers: Headers) -> tuple[Message, bytes]:
    """Return the message that begins a refusal, and its body: the ``error`` frame, whose code decides the status."""
    assert error.code is not None, "it is an error"
    status = status_of(error.code)
    body = error.payload + b"\n"
    own = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *HEADERS,
        *MORE_HEADERS.get(status, ()),
        *(header for header in headers if header != LAST_ON_CONNECTION),
    ]
    return {"type": "http.response.start", "status": status, "headers": own}, body


def refusal_of(code: CloseCode) -> Refused:
    """Return what is said where a connection was closed before anything else was."""
    if code in (CloseCode.NOT_AUTHENTICATED, CloseCode.TOKEN_EXPIRED):
        return Refused(ErrorCode.NOT_AUTHENTICATED, "The token or the session is not valid")
    return Refused(ErrorCode.UNAVAILABLE, "This server can't serve the stream now")

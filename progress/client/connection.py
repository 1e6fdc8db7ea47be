"""A client for any program: follow a job through lost connections, without Django.

async for frame in watch("ws://127.0.0.1:8000", "job-123"):
    print(frame["status"], frame["progress"], frame["message"])

It follows the rules for clients in docs/protocol.md.
"""

import asyncio
import ipaddress
import json
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

from .server_clock import ServerClock

Frame = dict[str, Any]  # as decoded from its JSON, with the fields of docs/protocol.md
Token = str | Callable[[], str]

TERMINAL = frozenset({"completed", "failed", "cancelled"})
HEARTBEAT_SECONDS = 25.0  # the server's default, PROGRESS_HEARTBEAT_SECONDS
GRACE_SECONDS = 10.0  # how late a heartbeat may be before the connection counts as lost
BACKOFF_MIN = 0.5  # seconds
BACKOFF_MAX = 20.0  # seconds
CONNECT_SECONDS = 10.0  # how long one try to connect may take
CLOSE_SECONDS = 1.0  # how long to wait for the server's close frame
HTTP_RETRY = frozenset({408, 425, 429})  # client errors for which trying again later helps


class WatchError(Exception):
    """The base of the exceptions that end a watch before the job ends."""


class WatchRefused(WatchError):
    """The server refused, and would refuse the same request again.

    Attributes:
        code: A stable identifier, such as ``job_not_found``.
        reason: A sentence for people.

    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class ServerUnreachable(WatchError):
    """No server answered the first try; raised only without ``wait_for_server``."""


class _ConnectionLost(Exception):
    """The connection is lost; the message says how."""


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """Whether the client is connected and up to date, or about to reconnect.

    Attributes:
        connected: Whether the frames yielded so far show the job as it is now.
        reason: Why the connection was lost, in words.
        delay: Seconds until the next try.
        as_of: When the last frame arrived; None before the first.
        clock: The server's time, as far as it has told it.

    """

    connected: bool
    reason: str = ""
    delay: float = 0.0
    as_of: datetime | None = None
    clock: ServerClock = field(default_factory=ServerClock, compare=False)


def backoff_delay(failures: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Return how many seconds to wait before the next try, after ``failures`` failed ones in a row.

    ``min(20 s, 0.5 s + random(0, min(20 s, 0.5 s · 2ⁿ)))``: half a second at least, then full jitter, so
    that the clients of a restarted server do not reconnect all at once (docs/protocol.md).
    """
    ceiling = min(BACKOFF_MAX, BACKOFF_MIN * 2 ** min(failures, 30))
    return min(BACKOFF_MAX, BACKOFF_MIN + uniform(0, ceiling))


class Cursor:
    """How far the client has followed one job: the epoch that it was told last, and the highest seq seen."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.epoch: str | None = None
        self.seq = 0

    def accept(self, frame: Frame) -> bool:
        """Advance to a frame; return False if it is about another job, or not new."""
        kind = frame.get("type")
        if frame.get("job_id" if kind in ("snapshot", "progress") else "subject") != self.job_id:
            return False
        if kind in ("backscroll", "snapshot"):
            known = self.seq if frame["epoch"] == self.epoch else 0
            self.epoch, self.seq = frame["epoch"], frame.get("seq", known)
            return True
        if kind not in ("progress", "log", "output") or frame["seq"] <= self.seq:
            return False
        self.seq = frame["seq"]
        return True

    def since(self) -> dict[str, Any] | None:
        """Return the position to resume from; None before there is one."""
        return None if self.epoch is None else {"epoch": self.epoch, "seq": self.seq}


async def watch(
    url: str,
    job_id: str,
    *,
    token: Token | None = None,
    logs: bool = False,
    output: bool = False,
    forever: bool = False,
    wait_for_server: bool = True,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
    on_state_change: Callable[[ConnectionState], None] | None = None,
) -> AsyncGenerator[Frame, None]:
    """Yield the frames of a job until it ends, each event once and in order.

    They are ``snapshot`` and ``progress``; with logs or output also ``backscroll``, and ``log`` or ``output``. After a
    lost connection it reconnects and resumes. To leave the loop early, wrap this in ``contextlib.aclosing``, so that
    the socket is closed at once.

    Args:
        url: The site: ``ws://``, ``wss://``, ``http://`` or ``https://``, with host and port.
        job_id: The job.
        token: The token for a job that is not public, or a function that returns a fresh one.
        logs: Whether to yield the lines of the job's log as well: the last 1,000, and each that is new.
        output: Whether to yield what the job has put out, and each part that is new.
        forever: Whether to go on after the job's end, since it may be retried.
        wait_for_server: Whether to keep trying when the first try finds no server.
        heartbeat_seconds: The server's heartbeat interval.
        on_state_change: Called with each change of the connection.

    Raises:
        WatchRefused: The job does not exist or is hidden from this client, the token is invalid, and the like.
        ServerUnreachable: Without ``wait_for_server``, no server answered.
        ValueError: ``url`` is not a URL.

    """
    notify = on_state_change or (lambda _: None)
    cursor, clock = Cursor(job_id), ServerClock()
    extras = {name: True for name, wanted in (("logs", logs), ("output", output)) if wanted}
    as_of: datetime | None = None
    failures = 0
    while True:
        is_current = False  # until the snapshot that ends this connection's recovery
        try:
            async with (
                _connect(url, cursor, token, extras) as socket,
                aclosing(_frames(socket, job_id, heartbeat_seconds + GRACE_SECONDS)) as frames,
            ):
                clock.reset()
                await _subscribe(socket, cursor, extras)
                async for frame in frames:
                    as_of = datetime.now(UTC)
                    clock.hear(frame)
                    if not cursor.accept(frame):
                        continue
                    failures = 0
                    if not is_current and frame["type"] == "snapshot":
                        is_current = True
                        notify(ConnectionState(connected=True, as_of=as_of, clock=clock))
                    yield frame
                    # During recovery this may be an old end, which a retry has undone since.
                    if is_current and not forever and frame.get("status") in TERMINAL:
                        return
        except (OSError, WebSocketException, _ConnectionLost) as error:
            lost = error
        reason = _explain(lost)
        if as_of is None and not wait_for_server:
            raise ServerUnreachable(reason) from lost
        delay = backoff_delay(failures)
        failures += 1
        notify(ConnectionState(connected=False, reason=reason, delay=delay, as_of=as_of, clock=clock))
        await asyncio.sleep(delay)


def socket_url(url: str, job_id: str | None = None, since: dict[str, Any] | None = None) -> str:
    """Return the URL of the WebSocket for a job, or for no particular one, on the site ``url``.

    Raises:
        ValueError: ``url`` is not a URL of a site.

    """
    parts = urlsplit(url)
    scheme = {"ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise ValueError(f"{url!r} is not a URL; give one like ws://127.0.0.1:8000.")
    path = parts.path.rstrip("/") + "/progress/ws"
    if job_id is not None:
        path += "/" + quote(job_id, safe="")
    return f"{scheme}://{parts.netloc}{path}" + (f"?{urlencode(since)}" if since else "")


def _connect(url: str, cursor: Cursor, token: Token | None, extras: dict[str, bool]) -> connect:
    # These can only be asked for by a message, which names the job; the URL does not then.
    uri = socket_url(url) if extras else socket_url(url, cursor.job_id, cursor.since())
    bearer = token() if callable(token) else token
    return connect(
        uri,
        additional_headers={"Authorization": f"Bearer {bearer}"} if bearer else None,
        open_timeout=CONNECT_SECONDS,
        close_timeout=CLOSE_SECONDS,
        ping_interval=None,  # the server's heartbeat shows that the connection is alive
        proxy=None if _is_loopback(urlsplit(uri).hostname or "") else True,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _subscribe(socket: ClientConnection, cursor: Cursor, extras: dict[str, bool]) -> None:
    with suppress(ConnectionClosed):  # whoever reads finds out as well, behind what the server has said before
        if extras:
            since = {"since": cursor.since()} if cursor.epoch else {}
            await socket.send(json.dumps({"type": "subscribe", "job_id": cursor.job_id, **extras, **since}))
        await socket.send(json.dumps({"type": "ping"}))  # the answer has the server's time


async def _frames(socket: ClientConnection, job_id: str, silence: float) -> AsyncGenerator[Frame, None]:
    """Yield the frames that arrive; raise for an error about the job, and after ``silence`` seconds without a frame."""
    error: Frame = {}
    while True:
        try:
            async with asyncio.timeout(silence):
                frame = _parse(await socket.recv())
        except TimeoutError:
            raise _ConnectionLost(f"no sign of life for {silence:g} seconds") from None
        except ConnectionClosed as closed:
            _raise_if_final(closed, error)
            raise
        if frame.get("type") == "error":
            error = frame
            if frame.get("subject") == job_id:
                _raise_for(frame)
        yield frame


def _parse(message: str | bytes) -> Frame:
    """Return the frame in a message; an empty one, which is ignored, for anything but a JSON object."""
    try:
        frame = json.loads(message)
    except ValueError:
        return {}
    return frame if isinstance(frame, dict) else {}


def _raise_for(error: Frame) -> None:
    if error.get("temporary"):
        raise _ConnectionLost(str(error.get("error", "")))
    raise WatchRefused(str(error.get("code", "")), str(error.get("error", "")))


def _raise_if_final(closed: ConnectionClosed, error: Frame) -> None:
    code = closed.rcvd.code if closed.rcvd else 1006
    if 4500 <= code <= 4999:
        error_codes = {4503: "not_authenticated", 4504: "job_not_found", 4505: "too_many_subscriptions"}
        reason = error.get("error") or (closed.rcvd and closed.rcvd.reason) or f"The server refused (code {code})."
        raise WatchRefused(error.get("code") or error_codes.get(code, "invalid_message"), reason) from closed


def _explain(error: Exception) -> str:
    """Return in words how a connection was lost.

    Raises:
        WatchRefused: Another try would fail in the same way.
        ValueError: The URL is not valid.

    """
    match error:
        case InvalidURI():
            raise ValueError(str(error)) from error
        case InvalidStatus():
            status = error.response.status_code
            if 400 <= status < 500 and status not in HTTP_RETRY:
                raise WatchRefused(f"http_{status}", f"The server refused the connection (HTTP {status}).") from error
            return f"the server answered HTTP {status}"
        case ConnectionClosed():
            reasons = {4001: "the server is going away", 4005: "the token has expired", 4008: "too slow to read"}
            code = error.rcvd.code if error.rcvd else 1006
            return reasons.get(code, f"the connection was closed (code {code})")
        case ConnectionRefusedError():
            return "no server answers"
        case TimeoutError():
            return "the server did not answer in time"
    return str(error) or type(error).__name__

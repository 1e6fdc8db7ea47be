"""A client for any program: follow a job through lost connections, without Django.

async for frame in watch("ws://127.0.0.1:8000", "job-123"):
    print(frame["status"], frame["progress"], frame["message"])

The rules are those of docs/protocol.md.
"""

import asyncio
import ipaddress
import json
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

Frame = dict[str, Any]
Token = str | Callable[[], str]

TERMINAL = frozenset({"completed", "failed", "cancelled"})
HEARTBEAT_SECONDS = 25.0  # the server's default, PROGRESS_HEARTBEAT_SECONDS
GRACE_SECONDS = 10.0  # how much later than that a heartbeat may come before the link counts as dead
BACKOFF_MIN = 0.5  # seconds
BACKOFF_MAX = 20.0  # seconds
CONNECT_SECONDS = 10.0  # how long one try to connect may take
CLOSE_SECONDS = 1.0  # how long to wait for the other side's goodbye
HTTP_RETRY = frozenset({408, 425, 429})  # the client errors that pass by waiting


class WatchError(Exception):
    """The base of what ends a watch before the job does."""


class WatchRefused(WatchError):
    """The server has refused, and would refuse again.

    Attributes:
        code: A stable word, such as ``job_not_found``.
        reason: A sentence for people.

    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class ServerUnreachable(WatchError):
    """No server answered the first try; raised only where the caller did not want to wait for one."""


class _Lost(Exception):
    """The connection is gone; its message says how."""


@dataclass(frozen=True, slots=True)
class Link:
    """A change of the connection: it stands and the state is current, or it is to be made again.

    Attributes:
        connected: Whether what is known of the job is current.
        reason: Why the connection was lost, in words.
        delay: Seconds until the next try.
        as_of: When the last frame came; None if none ever did.

    """

    connected: bool
    reason: str = ""
    delay: float = 0.0
    as_of: datetime | None = None


def backoff_delay(failures: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Return how many seconds to wait before the next try, after so many failed ones in a row.

    ``min(20 s, 0.5 s + random(0, min(20 s, 0.5 s · 2ⁿ)))``: half a second at least, then full jitter, so
    that the clients of a restarted server do not come back all at once (docs/protocol.md).
    """
    ceiling = min(BACKOFF_MAX, BACKOFF_MIN * 2 ** min(failures, 30))
    return min(BACKOFF_MAX, BACKOFF_MIN + uniform(0, ceiling))


class Position:
    """How far the events of one job are known: the epoch of the last snapshot, the highest seq seen."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.epoch: str | None = None
        self.seq = 0

    def accept(self, frame: Frame) -> bool:
        """Take note of a frame; return whether it is news of this job."""
        kind = frame.get("type")
        if frame.get("subject" if kind == "log" else "job_id") != self.job_id:
            return False
        if kind == "snapshot":
            self.epoch, self.seq = frame["epoch"], frame["seq"]
            return True
        if kind not in ("progress", "log") or frame["seq"] <= self.seq:
            return False
        self.seq = frame["seq"]
        return True

    def since(self) -> dict[str, Any] | None:
        """Return what to offer the server in order to resume, if there is anything."""
        return None if self.epoch is None else {"epoch": self.epoch, "seq": self.seq}


async def watch(
    url: str,
    job_id: str,
    *,
    token: Token | None = None,
    logs: bool = False,
    forever: bool = False,
    wait_for_server: bool = True,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
    on_link: Callable[[Link], None] | None = None,
) -> AsyncGenerator[Frame, None]:
    """Yield the frames of a job (``snapshot``, ``progress``, ``log``) until it ends, each event once and in order.

    A lost connection is made again and resumed. To leave the loop early, wrap this in
    ``contextlib.aclosing``, so that the socket is closed at once.

    Args:
        url: The site: ``ws://``, ``wss://``, ``http://`` or ``https://``, with host and port.
        job_id: The job.
        token: What admits to a job that is not public, or a function that returns a fresh one.
        logs: Whether to have the lines of the job's log as well.
        forever: Whether to go on after the job's end, since it may be retried.
        wait_for_server: Whether to go on trying where the very first try finds no server.
        heartbeat_seconds: How often the server sends one.
        on_link: Called with each change of the connection.

    Raises:
        WatchRefused: There is no such job or it is not for this client; the token is bad; and the like.
        ServerUnreachable: Without ``wait_for_server``, no server answered.
        ValueError: The address is none.

    """
    tell = on_link or (lambda _: None)
    position = Position(job_id)
    as_of: datetime | None = None
    failures = 0
    while True:
        current = False  # false until the snapshot that ends this connection's recovery
        try:
            async with (
                _connect(url, position, token, logs) as socket,
                aclosing(_frames(socket, job_id, heartbeat_seconds + GRACE_SECONDS)) as frames,
            ):
                await _subscribe(socket, position, logs)
                async for frame in frames:
                    as_of = datetime.now(UTC)
                    if not position.accept(frame):
                        continue
                    failures = 0
                    if not current and frame["type"] == "snapshot":
                        current = True
                        tell(Link(connected=True, as_of=as_of))
                    yield frame
                    # A replay may hold an end that a retry has undone since.
                    if current and not forever and frame.get("status") in TERMINAL:
                        return
        except (OSError, WebSocketException, _Lost) as error:
            lost = error
        reason = _explain(lost)
        if as_of is None and not wait_for_server:
            raise ServerUnreachable(reason) from lost
        delay = backoff_delay(failures)
        failures += 1
        tell(Link(connected=False, reason=reason, delay=delay, as_of=as_of))
        await asyncio.sleep(delay)


def address(url: str, job_id: str | None = None, since: dict[str, Any] | None = None) -> str:
    """Return the WebSocket address of a job, or of no job in particular, on the site ``url``.

    Raises:
        ValueError: The site is no address.

    """
    parts = urlsplit(url)
    scheme = {"ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise ValueError(f"{url!r} is no address; give one like ws://127.0.0.1:8000.")
    path = parts.path.rstrip("/") + "/progress/ws"
    if job_id is not None:
        path += "/" + quote(job_id, safe="")
    return f"{scheme}://{parts.netloc}{path}" + (f"?{urlencode(since)}" if since else "")


def _connect(url: str, position: Position, token: Token | None, logs: bool) -> connect:
    # Log lines are asked for by message only; then the job is not named in the address.
    uri = address(url) if logs else address(url, position.job_id, position.since())
    shown = token() if callable(token) else token
    return connect(
        uri,
        additional_headers={"Authorization": f"Bearer {shown}"} if shown else None,
        open_timeout=CONNECT_SECONDS,
        close_timeout=CLOSE_SECONDS,
        ping_interval=None,  # the server's heartbeat tells a dead link
        proxy=None if _is_loopback(urlsplit(uri).hostname or "") else True,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _subscribe(socket: ClientConnection, position: Position, logs: bool) -> None:
    if logs:
        request: Frame = {"type": "subscribe", "job_id": position.job_id, "logs": True}
        if since := position.since():
            request["since"] = since
        await socket.send(json.dumps(request))


async def _frames(socket: ClientConnection, job_id: str, silence: float) -> AsyncGenerator[Frame, None]:
    """Yield what comes; raise for an error that concerns the job, and for silence of so many seconds."""
    error: Frame = {}
    while True:
        try:
            async with asyncio.timeout(silence):
                frame = _parse(await socket.recv())
        except TimeoutError:
            raise _Lost(f"no sign of life for {silence:g} seconds") from None
        except ConnectionClosed as closed:
            _raise_if_final(closed, error)
            raise
        if frame.get("type") == "error":
            error = frame
            if frame.get("subject") == job_id:
                _raise_for(frame)
        yield frame


def _parse(message: str | bytes) -> Frame:
    """Return a frame; what is none counts as one of an unknown type, which is ignored."""
    try:
        frame = json.loads(message)
    except ValueError:
        return {}
    return frame if isinstance(frame, dict) else {}


def _raise_for(error: Frame) -> None:
    if error.get("temporary"):
        raise _Lost(str(error.get("error", "")))
    raise WatchRefused(str(error.get("code", "")), str(error.get("error", "")))


def _raise_if_final(closed: ConnectionClosed, error: Frame) -> None:
    code = closed.rcvd.code if closed.rcvd else 1006
    if 4500 <= code <= 4999:
        words = {4503: "not_authenticated", 4504: "job_not_found", 4505: "too_many_subscriptions"}
        reason = error.get("error") or (closed.rcvd and closed.rcvd.reason) or f"The server refused (code {code})."
        raise WatchRefused(error.get("code") or words.get(code, "invalid_message"), reason) from closed


def _explain(error: Exception) -> str:
    """Return in words how a connection was lost.

    Raises:
        WatchRefused: Another try would meet with the same.

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

"""Every message that a client may send, as ``docs/protocol.md`` specifies it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .codes import ErrorCode
from .exceptions import Refused
from .frames import FEEDS, FeedName, is_text
from .position import MAX_SEQ, Position

MAX_JOBS = 128  # in one message: as many as a socket may watch by default, PROGRESS_MAX_SUBSCRIPTIONS


@dataclass(frozen=True, slots=True)
class Ping:
    """The client asks for a ``pong``."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """The client subscribes to a job, from a position if it gives one."""

    job_id: str
    since: Position | None = None
    logs: bool = False
    output: bool = False


@dataclass(frozen=True, slots=True)
class SubscribeMany:
    """The client subscribes to several jobs, each as if by a message of its own."""

    jobs: tuple[Subscribe, ...]


@dataclass(frozen=True, slots=True)
class SubscribeFeed:
    """The client subscribes to a feed: new jobs, and changes of status."""

    feed: FeedName


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """The client ends its subscription to a job or a feed."""

    subject: str
    is_feed: bool


@dataclass(frozen=True, slots=True)
class UnsubscribeMany:
    """The client ends its subscriptions to several jobs."""

    job_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Auth:
    """The client identifies itself by a token."""

    token: str


Command = Ping | Subscribe | SubscribeMany | SubscribeFeed | Unsubscribe | UnsubscribeMany | Auth


def parse(text: str) -> Command:
    """Return the command that a client sent.

    Raises:
        Refused: It is not JSON or not an object, its type is unknown, or a field is missing or wrong.

    """
    try:
        message = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise invalid("The message is not JSON.") from None
    if not isinstance(message, dict):
        raise invalid("The message must be a JSON object.")
    match message.get("type"):
        case "ping":
            return Ping()
        case "subscribe":
            return _subscribe(message)
        case "unsubscribe":
            return _unsubscribe(message)
        case "auth":
            return Auth(_string(message, "token"))
    raise invalid("Unknown message type; send ping, subscribe, unsubscribe or auth.")


def position(epoch: object, seq: object) -> Position:
    """Return the position that a client sent.

    Raises:
        Refused: It is malformed.

    """
    if not isinstance(epoch, str) or isinstance(seq, bool) or not isinstance(seq, int) or not 0 <= seq <= MAX_SEQ:
        raise invalid("A position is an 'epoch' (string) and a 'seq' (whole number, 0 or more).")
    return Position(epoch, seq)


def invalid(sentence: str) -> Refused:
    """Return the refusal of a message that breaks the protocol."""
    return Refused(ErrorCode.INVALID_MESSAGE, sentence)


def _subscribe(message: dict[str, Any]) -> Subscribe | SubscribeMany | SubscribeFeed:
    _require_one_of(message, "job_id", "jobs", "feed")
    if "feed" in message:
        return SubscribeFeed(_feed(message))
    logs, output = _flag(message, "logs"), _flag(message, "output")
    if "jobs" not in message:
        return _subscription(message, logs=logs, output=output)
    jobs = tuple(_subscription(entry, logs=logs, output=output) for entry in _list(message, "jobs"))
    _require_distinct([each.job_id for each in jobs])
    return SubscribeMany(jobs)


def _subscription(entry: object, *, logs: bool, output: bool) -> Subscribe:
    if not isinstance(entry, dict):
        raise invalid("Each of 'jobs' must be an object with 'job_id'.")
    job_id = _string(entry, "job_id")
    since = entry.get("since")
    if since is not None:
        if not isinstance(since, dict):
            raise invalid("'since' must be an object with 'epoch' and 'seq'.")
        since = position(since.get("epoch"), since.get("seq"))
    return Subscribe(job_id, since, logs, output)


def _unsubscribe(message: dict[str, Any]) -> Unsubscribe | UnsubscribeMany:
    _require_one_of(message, "job_id", "job_ids", "feed")
    if "feed" in message:
        return Unsubscribe(_feed(message), is_feed=True)
    if "job_ids" not in message:
        return Unsubscribe(_string(message, "job_id"), is_feed=False)
    job_ids = tuple(_text(value, "Each of 'job_ids'") for value in _list(message, "job_ids"))
    _require_distinct(job_ids)
    return UnsubscribeMany(job_ids)


def _feed(message: dict[str, Any]) -> FeedName:
    for name in FEEDS:
        if message["feed"] == name:
            return name
    raise invalid("'feed' must be 'mine' or 'all'.")


def _require_one_of(message: dict[str, Any], *fields: str) -> None:
    if sum(field in message for field in fields) != 1:
        raise invalid(f"Give one of {', '.join(map(repr, fields))}.")


def _list(message: dict[str, Any], field: str) -> list[Any]:
    value = message[field]
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_JOBS:
        raise invalid(f"'{field}' must be a list of 1 to {MAX_JOBS} jobs.")
    return value


def _require_distinct(job_ids: Sequence[str]) -> None:
    if len(set(job_ids)) != len(job_ids):
        raise invalid("A message may name a job once.")


def _flag(message: dict[str, Any], field: str) -> bool:
    value = message.get(field, False)
    if not isinstance(value, bool):
        raise invalid(f"'{field}' must be true or false.")
    return value


def _string(message: dict[str, Any], field: str) -> str:
    return _text(message.get(field), f"'{field}'")


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not is_text(value):
        raise invalid(f"{what} must be a string.")
    return value


def _no_constant(name: str) -> None:
    """Refuse ``NaN`` and ``Infinity``, which Python accepts but JSON does not have."""
    raise ValueError(name)

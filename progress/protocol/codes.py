"""The codes of the protocol: close codes, and those of errors, with the HTTP status of each."""

from enum import IntEnum, StrEnum


class CloseCode(IntEnum):
    """Why the server closes a socket. 4000–4499: connect again and resume; 4500–4999: stop."""

    GOING_AWAY = 4001
    TOKEN_EXPIRED = 4005
    IDLE = 4007
    TOO_SLOW = 4008
    RESYNC = 4010
    TOO_MANY_MESSAGES = 4013
    TOO_MANY_CONNECTIONS = 4014
    INVALID_REQUEST = 4500
    NOT_AUTHENTICATED = 4503
    JOB_NOT_FOUND = 4504
    TOO_MANY_SUBSCRIPTIONS = 4505


class ErrorCode(StrEnum):
    """What an ``error`` frame is about, or the answer to an HTTP request that is refused."""

    INVALID_MESSAGE = "invalid_message"
    JOB_NOT_FOUND = "job_not_found"
    NOT_AUTHENTICATED = "not_authenticated"
    MESSAGE_TOO_LARGE = "message_too_large"
    TOO_MANY_MESSAGES = "too_many_messages"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    TOO_MANY_SUBSCRIPTIONS = "too_many_subscriptions"
    IDLE = "idle"
    UNAVAILABLE = "unavailable"
    # Over HTTP alone.
    FOREIGN_ORIGIN = "foreign_origin"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    INVALID_WINDOW = "invalid_window"
    POSITION_GONE = "position_gone"
    TOO_MANY_WAITS = "too_many_waits"


# Whether the same request may succeed later.
TEMPORARY = frozenset(
    {
        ErrorCode.TOO_MANY_MESSAGES,
        ErrorCode.TOO_MANY_CONNECTIONS,
        ErrorCode.TOO_MANY_WAITS,
        ErrorCode.IDLE,
        ErrorCode.UNAVAILABLE,
    }
)

STATUSES = {
    ErrorCode.NOT_AUTHENTICATED: 401,
    ErrorCode.FOREIGN_ORIGIN: 403,
    ErrorCode.JOB_NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.POSITION_GONE: 410,
    ErrorCode.TOO_MANY_CONNECTIONS: 429,
    ErrorCode.TOO_MANY_MESSAGES: 429,
    ErrorCode.TOO_MANY_WAITS: 429,
    ErrorCode.UNAVAILABLE: 503,
}


def status_of(code: ErrorCode) -> int:
    """Return the status of an HTTP answer with this code."""
    return STATUSES.get(code, 400)

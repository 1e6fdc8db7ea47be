"""The codes of the protocol: close codes, and those of ``error`` frames."""

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
    """What an ``error`` frame is about."""

    INVALID_MESSAGE = "invalid_message"
    JOB_NOT_FOUND = "job_not_found"
    NOT_AUTHENTICATED = "not_authenticated"
    MESSAGE_TOO_LARGE = "message_too_large"
    TOO_MANY_MESSAGES = "too_many_messages"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    TOO_MANY_SUBSCRIPTIONS = "too_many_subscriptions"
    IDLE = "idle"
    UNAVAILABLE = "unavailable"


# Whether the same request may succeed later.
TEMPORARY = frozenset(
    {ErrorCode.TOO_MANY_MESSAGES, ErrorCode.TOO_MANY_CONNECTIONS, ErrorCode.IDLE, ErrorCode.UNAVAILABLE}
)

"""What a request is refused for: the codes, the status of each, and the exception."""

from enum import StrEnum
from http import HTTPStatus

from ..protocol.exceptions import ProgressError


class Code(StrEnum):
    """What the answer to a refused request is about."""

    INVALID_REQUEST = "invalid_request"
    INVALID_POSITION = "invalid_position"
    INVALID_WINDOW = "invalid_window"
    NOT_AUTHENTICATED = "not_authenticated"
    FOREIGN_ORIGIN = "foreign_origin"
    JOB_NOT_FOUND = "job_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    POSITION_GONE = "position_gone"
    TOO_MANY_WAITS = "too_many_waits"
    UNAVAILABLE = "unavailable"


STATUSES = {
    Code.INVALID_REQUEST: HTTPStatus.BAD_REQUEST,
    Code.INVALID_POSITION: HTTPStatus.BAD_REQUEST,
    Code.INVALID_WINDOW: HTTPStatus.BAD_REQUEST,
    Code.NOT_AUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    Code.FOREIGN_ORIGIN: HTTPStatus.FORBIDDEN,
    Code.JOB_NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    Code.POSITION_GONE: HTTPStatus.GONE,
    Code.TOO_MANY_WAITS: HTTPStatus.TOO_MANY_REQUESTS,
    Code.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Refusal(ProgressError):
    """A request is refused.

    Args:
        code: Why, for programs.
        sentence: The same for people. It names nothing of the request: what is hidden and what is unknown look alike.

    """

    def __init__(self, code: Code, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def job_not_found() -> Refusal:
    """Return the refusal of a job that does not exist or is hidden; clients can't tell which."""
    return Refusal(Code.JOB_NOT_FOUND, "Job not found")


def position_gone() -> Refusal:
    """Return the refusal of a position from which nobody can go on: the client takes the snapshot."""
    return Refusal(Code.POSITION_GONE, "What follows this position is not in the log; take the snapshot")


def unavailable() -> Refusal:
    """Return the refusal of what can't be read at the moment."""
    return Refusal(Code.UNAVAILABLE, "This can't be read now")


def too_many_waits() -> Refusal:
    """Return the refusal of a wait that is one too many."""
    return Refusal(Code.TOO_MANY_WAITS, "Too many are waiting")

"""What polls are refused for. None names anything of the request: what is hidden and what is unknown look alike."""

from ..protocol.codes import ErrorCode
from ..protocol.exceptions import Refused


def job_not_found() -> Refused:
    """Return the refusal of a job that does not exist or is hidden; clients can't tell which."""
    return Refused(ErrorCode.JOB_NOT_FOUND, "Job not found")


def position_gone() -> Refused:
    """Return the refusal of a position from which nobody can go on: the client takes the snapshot."""
    return Refused(ErrorCode.POSITION_GONE, "What follows this position is not in the log; take the snapshot")


def unavailable() -> Refused:
    """Return the refusal of what can't be read at the moment."""
    return Refused(ErrorCode.UNAVAILABLE, "This can't be read now")


def too_many_waits() -> Refused:
    """Return the refusal of a wait that is one too many."""
    return Refused(ErrorCode.TOO_MANY_WAITS, "Too many are waiting")


def invalid_window(sentence: str) -> Refused:
    """Return the refusal of a window to wait for: the client asks without one."""
    return Refused(ErrorCode.INVALID_WINDOW, sentence)

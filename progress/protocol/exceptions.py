"""The exceptions of this app.

ProgressError
├── Refused: answered with an ``error`` frame, and perhaps a close code
└── InvalidToken
"""

from .codes import TEMPORARY, CloseCode, ErrorCode


class ProgressError(Exception):
    """The base of the exceptions that this app raises."""


class Refused(ProgressError):
    """A client's request is refused.

    Args:
        code: What the error is about, for programs.
        sentence: The same for people.
        subject: The job or feed that it concerns, if any.
        close: The code to close the socket with; None leaves it open.

    """

    def __init__(
        self, code: ErrorCode, sentence: str, *, subject: str | None = None, close: CloseCode | None = None
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.subject = subject
        self.close = close

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code in TEMPORARY


class InvalidToken(ProgressError):
    """The token is forged, expired, or of a user who may no longer sign in."""


def job_not_found(job_id: str) -> Refused:
    """Return the refusal of a job that does not exist or is hidden; clients can't tell which."""
    return Refused(ErrorCode.JOB_NOT_FOUND, "Job not found", subject=job_id[:64])


def unavailable(subject: str) -> Refused:
    """Return the refusal of a job or feed that can't be read at the moment."""
    return Refused(ErrorCode.UNAVAILABLE, "This can't be read now", subject=subject)

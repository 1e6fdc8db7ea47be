"""The words of a job's life: its statuses, the moves between them, the kinds of events."""

from enum import StrEnum

from .exceptions import InvalidTransition

STAGE_SEPARATOR = " › "  # between the names of stages that are within each other


class Status(StrEnum):
    """Where a job stands; the value is what clients see."""

    PENDING = "pending"
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def label(self) -> str:
        """The status in words."""
        return self.value.replace("_", " ").capitalize()


class EventKind(StrEnum):
    """What an event records. A later event supersedes a tick; the others each count."""

    STATUS = "status"
    STAGE = "stage"
    TICK = "tick"
    LOG = "log"
    OUTPUT = "output"  # a part of what the job has to say at length, such as an answer that is being written
    EDIT = "edit"  # another name, owner, visibility or `keep`; what is shown of the run stays as it was


class ActionKind(StrEnum):
    """What somebody does to a job, other than to run it, or to a token."""

    CANCEL = "cancel"
    RETRY = "retry"
    EDIT = "edit"
    DELETE = "delete"
    ISSUE = "issue"  # of a token
    REVOKE = "revoke"


class ActorKind(StrEnum):
    """Who does something."""

    USER = "user"
    TOKEN = "token"  # noqa: S105  # the word, and no token
    COMMAND = "command"
    SYSTEM = "system"


LISTED = frozenset({EventKind.STATUS, EventKind.EDIT})  # what lists of jobs show
EXTRAS = frozenset(
    {EventKind.LOG, EventKind.OUTPUT}
)  # what leaves the state as it was, and only those get who ask for it


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})

ALLOWED: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.QUEUED, Status.IN_PROGRESS, Status.CANCELLED, Status.FAILED}),
    Status.QUEUED: frozenset({Status.IN_PROGRESS, Status.CANCELLED, Status.FAILED}),
    # Back to queued: the run is given up and the job waits for a new attempt.
    Status.IN_PROGRESS: frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.QUEUED}),
    Status.COMPLETED: frozenset(),
    # By retry only, which starts a new attempt.
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.CANCELLED: frozenset({Status.QUEUED}),
}


def require_transition(job_id: str, current: str, new: Status) -> None:
    """Check that a job may move from one status to another.

    Raises:
        InvalidTransition: It may not.

    """
    if new not in ALLOWED[Status(current)]:
        raise InvalidTransition(job_id, current, new)

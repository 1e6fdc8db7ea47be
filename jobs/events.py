"""A committed event, as it travels from the lifecycle to whoever watches."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .states import EventKind


@dataclass(frozen=True, slots=True)
class Event:
    """One committed change of a job: its whole state after it, at position ``{epoch, seq}``.

    For a log line, ``message`` is the line and ``metadata["level"]`` its level. For output, ``message`` is the text,
    ``metadata["name"]`` the stream, and ``metadata["offset"]`` how many bytes of output the job had before. The job's
    shown state did not change by either.
    """

    job_id: str
    epoch: str
    seq: int
    kind: EventKind
    status: str
    progress: float | None
    message: str
    metadata: dict[str, Any]
    timestamp: datetime


def in_words(moment: datetime) -> str:
    """Return a moment as clients get it: ISO 8601 in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

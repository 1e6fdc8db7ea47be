"""What a message must hold for the load client to count it."""

from datetime import datetime
from typing import Any

from benchmarks import payload

EVENT = frozenset(payload.fields(1))  # the fields of an event
SNAPSHOT = EVENT | {"name", "epoch", "recovered"}
STATE = "status", "progress", "message", "timestamp", "metadata"  # what a snapshot shows of the last event
TURN = 1000  # events after which `payload.fields` repeats its progress


def is_sent(fields: dict[str, Any], length: int, size: int, job: str) -> bool:
    """Return whether an event of so many bytes is exactly the one of `payload` at its seq."""
    wanted, message = payload.fields(fields["seq"], size, job=job), fields.get("message")
    return length == size and {**wanted, "message": message} == fields and _is_message(message)


def is_written(fields: dict[str, Any], job: str) -> bool:
    """Return whether an event can be one that a worker wrote; `shift` says whether it is the one at its seq."""
    try:
        return (
            set(fields) == EVENT
            and (fields["job_id"], fields["status"]) == (job, "in_progress")
            and fields["metadata"]["stage"] == "s3"
            and _is_message(fields["message"])
            and datetime.fromisoformat(fields["timestamp"]).tzinfo is not None
            and 0 <= fields["progress"] < TURN / 10
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def shift(fields: dict[str, Any]) -> int:
    """Return by how much an event's seq is behind the number that it was made from: one figure for all of a job.

    A worker counts its events from 1, and the seq of each is one more than that of the one before.
    """
    return int(round(10 * fields["progress"]) - fields["seq"]) % TURN


def is_snapshot(fields: dict[str, Any], job: str, *, recovered: bool) -> bool:
    """Return whether a snapshot is whole, and of a job that runs."""
    return (
        set(fields) - {"started_at"} == SNAPSHOT  # which a job has that was started by its lifecycle
        and (fields["job_id"], fields["status"], fields["recovered"]) == (job, "in_progress", recovered)
        and bool(fields["epoch"])
    )


def shows(snapshot: dict[str, Any], event: dict[str, Any]) -> bool:
    """Return whether a snapshot shows the state after an event."""
    return all(snapshot.get(name) == event[name] for name in STATE)


def _is_message(text: Any) -> bool:
    return isinstance(text, str) and text.rstrip(".") == "Item "

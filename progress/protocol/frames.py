"""Every frame that the server sends, as ``docs/protocol.md`` specifies it."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..source.vocabulary import Event, EventKind, Status
from .exceptions import Refused
from .position import Position

if TYPE_CHECKING:
    from ..source.store import ProcessingJob

FeedName = Literal["mine", "all"]
FEEDS: tuple[FeedName, ...] = get_args(FeedName)
STATUSES = frozenset(Status)
HEARTBEAT = "(heartbeat)"  # what heartbeats are ticks of; no job can have it as its id


class Frame:
    """A message ready to send, encoded once for all who get it; how it is framed is a transport's affair.

    Args:
        text: The JSON.
        state_of: Whose whole state this shows; empty where it shows none.
        seq: The event's position in the job's log.
        is_tick: Whether a later frame that shows the same state supersedes it.

    """

    __slots__ = ("is_tick", "payload", "seq", "state_of")

    def __init__(self, text: str, *, state_of: str = "", seq: int = 0, is_tick: bool = False) -> None:
        self.payload = text.encode()
        self.state_of = state_of
        self.seq = seq
        self.is_tick = is_tick

    @property
    def text(self) -> str:
        """The JSON; not kept beside the payload, since what waits or can be replayed would take twice the memory."""
        return self.payload.decode()


def encode(message: dict[str, Any]) -> str:
    """Return a message as the text of a frame.

    Raises:
        ValueError: It holds NaN, infinity or half of a surrogate pair, which JSON or UTF-8 does not have.

    """
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    if not is_text(text):
        raise ValueError("half of a surrogate pair is no character")
    return text


def timestamp(moment: datetime) -> str:
    """Return a moment as ISO 8601 in UTC, ending in ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def event_text(event: Event) -> str:
    """Return the text of the frame that shows an event.

    Raises:
        ValueError: It can't be shown.

    """
    _require_showable(event)
    if event.kind is EventKind.LOG:
        return encode(
            {
                "type": "log",
                "subject": event.job_id,
                "seq": event.seq,
                "timestamp": timestamp(event.timestamp),
                "level": event.metadata["level"],
                "text": event.message,
            }
        )
    return encode(
        {
            "type": "progress",
            "job_id": event.job_id,
            "status": event.status,
            "progress": event.progress,
            "message": event.message,
            "timestamp": timestamp(event.timestamp),
            "metadata": event.metadata,
            "seq": event.seq,
        }
    )


def job_state(job: "ProcessingJob") -> dict[str, Any]:
    """Return the fields that show a job as it stands: those of its last ``progress`` frame.

    Raises:
        ValueError: It can't be shown.

    """
    _require_showable(job)
    return {
        "type": "progress",
        "job_id": job.pk,
        "status": job.status,
        "progress": job.progress,
        "message": job.message,
        "timestamp": timestamp(job.updated_at),
        "metadata": job.metadata,
        "seq": job.seq,
    }


def _require_showable(stored: "Event | ProcessingJob") -> None:
    """Check what others than the lifecycle may have stored, an import, say: clients rely on these types and bounds."""
    if stored.status not in STATUSES:
        raise ValueError(f"{stored.status!r} is no status")
    if stored.progress is not None and not 0 <= stored.progress <= 100:
        raise ValueError(f"{stored.progress} is no percentage")
    if not isinstance(stored.metadata, dict):
        raise ValueError(f"the metadata is a {type(stored.metadata).__name__}")


def whole_state(job: "ProcessingJob") -> dict[str, Any]:
    """Return all that a page shows of a job, and the position of it."""
    state = job_state(job)
    del state["type"]
    return {**state, "name": job.name, "epoch": job.epoch, "created_at": timestamp(job.created_at)}


def listed_state(job: "ProcessingJob") -> dict[str, Any]:
    """Return a job as lists show it: without its result, of which many would be too much for a frame."""
    state = whole_state(job)
    return {**state, "metadata": {key: value for key, value in state["metadata"].items() if key != "result"}}


def feed_entry(job: "ProcessingJob") -> str:
    """Return a job as a feed shows it, as JSON."""
    return encode(listed_state(job))


def event_frame(job_id: str, seq: int, kind: str, text: str) -> Frame:
    """Return the frame of an event whose text is made already."""
    state_of = "" if kind == EventKind.LOG else job_id
    return Frame(text, state_of=state_of, seq=seq, is_tick=kind == EventKind.TICK)


def snapshot(state: dict[str, Any], *, name: str, position: Position, recovered: bool) -> Frame:
    """Return the answer to a subscription: the fields of the last ``progress`` frame, at a position."""
    fields = {**state, "type": "snapshot", "seq": position.seq, "name": name, "epoch": position.epoch}
    return Frame(encode({**fields, "recovered": recovered}), state_of=state["job_id"], seq=position.seq)


def feed(name: FeedName, entries: Iterable[str], *, cut: bool = False) -> Frame:
    """Return a frame of a feed: jobs that are new or have changed their status, each by its `feed_entry`.

    Args:
        name: The feed.
        entries: The jobs, oldest first.
        cut: Whether this is a first answer that leaves older jobs out, since they would be too much.

    """
    end = ',"cut":true' if cut else ""
    return Frame(f'{{"type":"feed","subject":"{name}","jobs":[{",".join(entries)}]{end}}}')


def pong() -> Frame:
    """Return the answer to a ping."""
    return Frame(encode({"type": "pong", "timestamp": timestamp(datetime.now(UTC))}))


def heartbeat() -> Frame:
    """Return the frame that shows an idle client that its link is alive; a later one supersedes it."""
    text = encode({"type": "heartbeat", "timestamp": timestamp(datetime.now(UTC))})
    return Frame(text, state_of=HEARTBEAT, is_tick=True)


def unsubscribed(subject: str) -> Frame:
    """Return the answer to an ``unsubscribe``."""
    return Frame(encode({"type": "unsubscribed", "subject": subject}))


def authenticated(expires: datetime) -> Frame:
    """Return the answer to an ``auth`` whose token is good."""
    return Frame(encode({"type": "authenticated", "expires": timestamp(expires)}))


def error(refused: Refused) -> Frame:
    """Return the frame that tells a client what it can't have."""
    message = {
        "type": "error",
        "error": refused.sentence,
        "code": refused.code,
        "temporary": refused.temporary,
    }
    if refused.subject is not None:
        message["subject"] = refused.subject
    return Frame(encode(message))


def is_text(value: str) -> bool:
    """Tell whether a string can be sent: JSON can spell half of a surrogate pair, which UTF-8 can't."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True

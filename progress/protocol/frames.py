"""Every frame that the server sends, as ``docs/protocol.md`` specifies it."""

import json
import math
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..source.vocabulary import EXTRAS, Event, EventKind, Status
from .codes import ErrorCode
from .exceptions import Refused
from .position import Position

if TYPE_CHECKING:
    from ..source.store import ProcessingJob

FeedName = Literal["mine", "all"]
FEEDS: tuple[FeedName, ...] = get_args(FeedName)
STATUSES = frozenset(Status)
HEARTBEAT = "(heartbeat)"  # the `state_of` of heartbeats; not a valid job id


class Frame:
    """A message that is ready to send, encoded once for all its watchers; the transport adds the framing.

    Args:
        text: The JSON.
        job_id: The job whose client has come to a position by this; empty if it has not.
        epoch: The stream of that position.
        seq: The event's position in the job's log.
        state_of: The job whose whole state this shows; empty if it does not show one.
        is_tick: Whether a later frame with the same ``state_of`` supersedes it.
        extra: The kind of the event if only those get it who ask for that; else empty.
        code: What an ``error`` frame is about; None of any other.

    """

    __slots__ = ("code", "epoch", "extra", "is_tick", "job_id", "payload", "seq", "state_of")

    def __init__(
        self,
        text: str,
        *,
        job_id: str = "",
        epoch: str = "",
        seq: int = 0,
        state_of: str = "",
        is_tick: bool = False,
        extra: str = "",
        code: ErrorCode | None = None,
    ) -> None:
        self.payload = text.encode()
        self.job_id = job_id
        self.epoch = epoch
        self.seq = seq
        self.state_of = state_of
        self.is_tick = is_tick
        self.extra = extra
        self.code = code

    @property
    def text(self) -> str:
        """The JSON; decoded from the payload each time, since to keep both would double the memory."""
        return self.payload.decode()


def encode(message: dict[str, Any]) -> str:
    """Return a message as the text of a frame.

    Raises:
        ValueError: It holds NaN, infinity or half of a surrogate pair, which JSON or UTF-8 can't represent.

    """
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    if not is_text(text):
        raise ValueError("half of a surrogate pair is not a character")
    return text


def timestamp(moment: datetime) -> str:
    """Return a moment as ISO 8601 in UTC, ending in ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def event_text(event: Event) -> str:
    """Return the text of the frame that shows an event.

    Raises:
        ValueError: A field is out of its bounds, and clients rely on those.

    """
    state = _state(event, event.job_id, event.timestamp)
    if event.kind not in EXTRAS:
        return encode({"type": "progress", **state})
    about, begin = event.metadata, {"subject": event.job_id, "seq": event.seq, "timestamp": state["timestamp"]}
    if event.kind is EventKind.LOG:
        return encode({"type": "log", **begin, "level": about["level"], "text": event.message})
    shown = {"type": "output", **begin, "name": about["name"], "offset": about["offset"], "text": event.message}
    return encode(shown | ({"cut": True} if about.get("cut") else {}))


def job_state(job: "ProcessingJob") -> dict[str, Any]:
    """Return the state of a job now: the fields that a ``progress`` frame, a snapshot and a feed's entry share.

    Raises:
        ValueError: A field is out of its bounds, and clients rely on those.

    """
    return _state(job, job.pk, job.updated_at)


def _state(stored: "Event | ProcessingJob", job_id: str, moment: datetime) -> dict[str, Any]:
    """Return the state in an event or a job, checked: code other than the lifecycle may have written the row."""
    if stored.status not in STATUSES:
        raise ValueError(f"{stored.status!r} is not a status")
    if stored.progress is not None and not 0 <= stored.progress <= 100:
        raise ValueError(f"{stored.progress} is not a percentage")
    if not isinstance(stored.metadata, dict):
        raise ValueError(f"the metadata is a {type(stored.metadata).__name__}")
    return {
        "job_id": job_id,
        "status": stored.status,
        "progress": stored.progress,
        "message": stored.message,
        "timestamp": timestamp(moment),
        "metadata": stored.metadata,
        "seq": stored.seq,
    }


def job_about(job: "ProcessingJob") -> dict[str, Any]:
    """Return what a snapshot says of a job beside its state: its name and, where known, kind, plan, parent and times.

    Raises:
        ValueError: One is out of its bounds, and clients rely on those.

    """
    if not isinstance(job.plan, list) or not all(_is_stage(stage) for stage in job.plan):
        raise ValueError(f"{job.plan!r:.80} is not a plan")
    return {"name": job.name, **_known(kind=job.kind, plan=job.plan, parent=job.parent_id, **_times(job))}


def _times(job: "ProcessingJob") -> dict[str, Any]:
    """Return when a job's attempt began, what earlier runs took, and how long it may be silent, as far as is known."""
    if job.usual is not None and not _is_usual(job.usual):
        raise ValueError(f"{job.usual!r:.80} is not what runs took")
    return {
        "started_at": job.started_at and timestamp(job.started_at),
        "usual": job.usual,
        "max_silence": job.max_silence,
    }


def _is_usual(usual: object) -> bool:
    """Return whether this says how many runs took how long: their median, or three quantiles."""
    match usual:
        case {"runs": int(), "seconds": [*seconds], **more} if len(seconds) in (1, 3):
            curve = more.get("curve", [])
            return all(map(_is_finite, seconds)) and isinstance(curve, list) and all(map(_is_finite, curve))
    return False


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _known(**told: Any) -> dict[str, Any]:
    """Return what there is to tell."""
    return {name: value for name, value in told.items() if value}


def _is_stage(stage: object) -> bool:
    """Return whether this is a stage of a plan: its name, and a weight."""
    match stage:
        case [str(name), int() | float() as weight]:
            return is_text(name) and 0 < weight < math.inf
    return False


def feed_entry(job: "ProcessingJob", *, with_result: bool = False) -> dict[str, Any]:
    """Return the entry for a job in a ``feed`` frame: its state, name, epoch, times, and kind and parent.

    Args:
        job: The job.
        with_result: Whether to keep ``metadata["result"]``; the results of many jobs are too much for one frame.

    Raises:
        ValueError: A field is out of its bounds, and clients rely on those.

    """
    state = job_state(job)
    if not with_result:
        state["metadata"] = {key: value for key, value in job.metadata.items() if key != "result"}
    entry = {**state, "name": job.name, "epoch": job.epoch, "created_at": timestamp(job.created_at)}
    return {**entry, **_known(kind=job.kind, parent=job.parent_id, **_times(job))}


def event_frame(job_id: str, seq: int, kind: str, text: str, epoch: str = "") -> Frame:
    """Return the frame for an event of the stream ``epoch``, given its `event_text`."""
    if kind in EXTRAS:
        return Frame(text, job_id=job_id, epoch=epoch, seq=seq, extra=kind)
    is_tick = kind == EventKind.TICK
    return Frame(text, job_id=job_id, epoch=epoch, seq=seq, state_of=job_id, is_tick=is_tick)


def backscroll(job_id: str, epoch: str, cut: Collection[str]) -> Frame:
    """Return the frame before the last log lines and output of a job, which a snapshot follows.

    Args:
        job_id: The job.
        epoch: The stream that they are of.
        cut: The kinds of which earlier ones are left out.

    """
    message = {"type": "backscroll", "subject": job_id, "epoch": epoch}
    return Frame(encode(message | ({"cut": sorted(cut)} if cut else {})))


def snapshot(state: dict[str, Any], *, about: dict[str, Any], position: Position, recovered: bool) -> Frame:
    """Return the answer to a subscription: the state of a job (`job_state`, or a ``progress`` frame) at a position.

    Args:
        state: The state.
        about: What `job_about` returns.
        position: Where that is.
        recovered: Whether the client missed nothing.

    """
    own = {"type": "snapshot", "seq": position.seq, **about, "epoch": position.epoch, "recovered": recovered}
    message = {"type": "snapshot", **state} | own  # the type comes first, for people who read the JSON
    job_id = state["job_id"]
    return Frame(encode(message), job_id=job_id, epoch=position.epoch, seq=position.seq, state_of=job_id)


def feed(name: FeedName, entries: Iterable[str], *, cut: bool = False) -> Frame:
    """Return a frame of a feed: jobs that are new or have changed their status.

    Args:
        name: The feed.
        entries: Their `feed_entry` as JSON, oldest first.
        cut: Whether this is a first frame that leaves older jobs out because of its size.

    """
    end = ',"cut":true' if cut else ""
    return Frame(f'{{"type":"feed","subject":"{name}","jobs":[{",".join(entries)}]{end}}}')


def pong() -> Frame:
    """Return the answer to a ping."""
    return Frame(encode({"type": "pong", "timestamp": timestamp(datetime.now(UTC))}))


def heartbeat() -> Frame:
    """Return the frame by which a client knows that its connection is alive; a later one supersedes it."""
    text = encode({"type": "heartbeat", "timestamp": timestamp(datetime.now(UTC))})
    return Frame(text, state_of=HEARTBEAT, is_tick=True)


def unsubscribed(subject: str) -> Frame:
    """Return the answer to an ``unsubscribe``."""
    return Frame(encode({"type": "unsubscribed", "subject": subject}))


def authenticated(expires: datetime) -> Frame:
    """Return the answer to an ``auth`` with a valid token."""
    return Frame(encode({"type": "authenticated", "expires": timestamp(expires)}))


def error(refused: Refused) -> Frame:
    """Return the frame that reports a refusal to the client."""
    message = {
        "type": "error",
        "error": refused.sentence,
        "code": refused.code,
        "temporary": refused.temporary,
    }
    if refused.subject is not None:
        message["subject"] = refused.subject
    return Frame(encode(message), code=refused.code)


def is_text(value: str) -> bool:
    """Return whether a string can be sent: JSON can spell half of a surrogate pair, UTF-8 can't."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True

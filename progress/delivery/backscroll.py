"""The last log lines and output of a job, for a client that is not sent each event since it was here: bounded reads."""

import logging
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from django.db import Error

from ..broker.messages import publication_of
from ..protocol.exceptions import unavailable
from ..protocol.frames import Frame, backscroll, event_frame
from ..protocol.position import Position
from ..source.store import Span, selectors
from ..source.vocabulary import EventKind
from . import reads
from .chunks import Chunk, chunks

if TYPE_CHECKING:
    from ..source.store import JobEvent

logger = logging.getLogger(__name__)

MOST_EVENTS = {EventKind.LOG: 1_000, EventKind.OUTPUT: 5_000}
MOST_BYTES = {EventKind.LOG: 1_048_576, EventKind.OUTPUT: 4_194_304}  # of their frames


class Backscroll(NamedTuple):
    """The last events of the kinds that a client wants, up to a position."""

    position: Position
    chunks: Sequence[Chunk]


async def read_back(job_id: str, span: Span, kinds: Collection[EventKind]) -> Backscroll:
    """Return the last events of some kinds in a span of a job's log, behind the frame that says what follows.

    Raises:
        Error: The database does not answer.
        Refused: A row of them can't be read.

    """
    try:
        frames = await reads.in_thread(_frames, job_id, span, kinds)
    except Error:
        raise
    except Exception as error:  # an import may store what Python does not take
        logger.warning("The log of job %s can't be read: %r", job_id, error)
        raise unavailable(job_id) from error
    return Backscroll(Position(span.epoch, span.upto), list(chunks(frames)))


# In a thread


def _frames(job_id: str, span: Span, kinds: Collection[EventKind]) -> list[Frame]:
    found: list[Frame] = []
    cut = []
    for kind in kinds:
        events = selectors.last_events(job_id, span, kind, MOST_EVENTS[kind] + 1, MOST_BYTES[kind])
        frames = list(_that_fit(events[: MOST_EVENTS[kind]], MOST_BYTES[kind], span.epoch))
        found += frames
        if len(frames) < len(events):
            cut.append(kind)
    return [backscroll(job_id, span.epoch, cut), *sorted(found, key=lambda frame: frame.seq)]


def _that_fit(events: "Sequence[JobEvent]", most: int, epoch: str) -> Iterator[Frame]:
    """Yield the frames of the last events that do not take more bytes than may be, newest first."""
    size = 0
    for event in events:
        try:
            _, _, seq, kind, text = publication_of(event.as_event(epoch))
        except Exception as error:  # whatever is wrong with an event, it harms no other
            logger.warning("An event of job %s can't be shown: %r", event.job_id, error)
            continue
        frame = event_frame(event.job_id, seq, kind, text)
        size += len(frame.payload)
        if size > most:
            return
        yield frame

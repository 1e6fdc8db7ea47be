"""The log lines and output of a job, for a client that is not sent each event since it was here: page by page."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from django.db import Error

from ..broker.messages import publication_of
from ..protocol.exceptions import unavailable
from ..protocol.frames import Frame, backscroll, event_frame
from ..protocol.position import Position
from ..source.store import Span, selectors
from ..source.vocabulary import EventKind
from . import reads
from .chunks import Chunk, chunks
from .reads import Shared

if TYPE_CHECKING:
    from ..source.store import JobEvent

logger = logging.getLogger(__name__)

R = TypeVar("R")

# With which of a stream it begins for a client that has no position there.
MOST_EVENTS = {EventKind.LOG: 1_000, EventKind.OUTPUT: 5_000}
MOST_BYTES = {EventKind.LOG: 1_048_576, EventKind.OUTPUT: 4_194_304}  # of their texts
# What is in memory for a watcher at a time; a single event may take more.
PAGE_EVENTS = 500
PAGE_BYTES = 262_144  # of their frames


class Beginning(NamedTuple):
    """After which event of each kind a backscroll begins, and the frame that says so."""

    epoch: str
    after: Mapping[EventKind, int]
    chunk: Chunk

    @property
    def position(self) -> Position:
        """Nothing up to here is wanted."""
        return Position(self.epoch, min(self.after.values()))


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Page:
    """What comes next of some kinds, up to a position."""

    upto: int
    chunks: Sequence[Chunk]


class Backscroll:
    """Reads the log lines and output of a job, once for all who are at the same place.

    It keeps nothing: a page is there for as long as somebody is sent it.

    Args:
        job_id: The job.

    """

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._pages: WeakValueDictionary[Any, Page] = WeakValueDictionary()
        self._reading: Shared[Any, Any] = Shared()

    async def begin(
        self, position: Position, since: Position | None, kinds: Collection[EventKind], turns: asyncio.Semaphore
    ) -> Beginning:
        """Return where it begins: at a client's position in the stream, or so that the last events are there.

        Args:
            position: Where the job stands.
            since: What the client has.
            kinds: What it wants.
            turns: Of which one is taken while the database is read.

        Raises:
            Error: The database does not answer.

        """
        epoch, upto = position
        if since is not None and since.epoch == epoch and since.seq <= upto:
            cut: list[EventKind] = []
            after = dict.fromkeys(sorted(kinds), since.seq)
        else:
            span = Span(epoch, 0, upto)
            after, cut = await self._once(("beginning", span, *sorted(kinds)), turns, _beginning, span, sorted(kinds))
        return Beginning(epoch, after, Chunk([backscroll(self._job_id, epoch, cut)]))

    async def page(self, span: Span, after: Mapping[EventKind, int], turns: asyncio.Semaphore) -> Page:
        """Return the first events in a span of a job's log, but for those of each kind that come before it begins.

        Args:
            span: What is missing.
            after: Where each kind begins.
            turns: Of which one is taken while the database is read.

        Raises:
            Error: The database does not answer.
            Refused: A row of them can't be read.

        """
        begins = {kind: max(begin, span.after) for kind, begin in after.items()}
        place = span.epoch, span.after, *begins.items()
        page = self._pages.get(place)
        if page is None:
            self._pages[place] = page = await self._once(place, turns, _page, span, begins)
        return page

    async def _once(self, key: Any, turns: asyncio.Semaphore, read: Callable[..., R], span: Span, *args: Any) -> R:
        async def in_turn() -> R:
            async with turns:
                try:
                    return await reads.in_thread(read, self._job_id, span, *args)
                except Error:
                    raise
                except Exception as error:  # an import may store what Python does not take
                    logger.warning("The log of job %s can't be read: %r", self._job_id, error)
                    raise unavailable(self._job_id) from error

        answer: R = await self._reading.once(key, in_turn)
        return answer


# In a thread


def _beginning(job_id: str, span: Span, kinds: Sequence[EventKind]) -> tuple[dict[EventKind, int], list[EventKind]]:
    """Return after which event of each kind its last ones begin, and the kinds of which that leaves out some."""
    after = {kind: selectors.last_begin(job_id, span, kind, MOST_EVENTS[kind], MOST_BYTES[kind]) for kind in kinds}
    return {kind: begin or 0 for kind, begin in after.items()}, [kind for kind in kinds if after[kind] is not None]


def _page(job_id: str, span: Span, begins: Mapping[EventKind, int]) -> Page:
    found: list[JobEvent] = []
    upto = span.upto
    for kind, begin in begins.items():
        of_kind = span._replace(after=begin, upto=upto)
        events, upto = selectors.first_events(job_id, of_kind, kind, PAGE_EVENTS, PAGE_BYTES)
        found += events
    frames: list[Frame] = []
    size = 0
    for event in sorted(found, key=lambda event: event.seq):
        frame = _frame(event, span.epoch)
        size += 0 if frame is None else len(frame.payload)
        if event.seq > upto or (frames and (len(frames) == PAGE_EVENTS or size > PAGE_BYTES)):
            upto = min(upto, event.seq - 1)
            break
        if frame is not None:
            frames.append(frame)
    return Page(upto, list(chunks(frames)))


def _frame(event: "JobEvent", epoch: str) -> Frame | None:
    try:
        job_id, _, seq, kind, text = publication_of(event.as_event(epoch))
    except Exception as error:  # whatever is wrong with an event, it harms no other
        logger.warning("An event of job %s can't be shown: %r", event.job_id, error)
        return None
    return event_frame(job_id, seq, kind, text, epoch)

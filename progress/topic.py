"""One watched job in one process: its stream, and the connections that watch it."""

import asyncio
import functools
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jobs import selectors
from jobs.access import policy, type_of_user
from jobs.states import EventKind
from jobs.threads import in_thread
from progress.conf import conf
from progress.connection import Connection
from progress.groups import Hint
from progress.pages import Pages
from progress.protocol import Frame, Position, event_frame, event_text, job_state
from progress.stream import Stream, Verdict

if TYPE_CHECKING:
    from jobs.models import ProcessingJob

Piece = tuple[list[Frame], bytes]  # frames, and the same as one piece of bytes

PIECE_BYTES = 32_768  # written to a socket in one go, unless a single frame is larger


class Topic:
    """Takes each event of a job once, in order, and sends it to all who watch.

    Made empty; the hub brings it to where the job stands with `stand_at`.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.users = 0  # subscriptions that are being made
        self.loading: asyncio.Task[None] | None = None
        self.touched = False  # an event came before the topic stood anywhere
        self.watchers: dict[Connection, type_of_user] = {}  # and who they are
        self._filling: asyncio.Task[None] | None = None
        self._pages: Pages | None = None  # of the log, there while clients read it
        self._answer: tuple[tuple[Frame, Frame, int], list[Piece]] | None = None
        self._asking: dict[tuple[str, Any], asyncio.Task[bool]] = {}
        self._plain: set[Connection] = set()
        self._with_logs: set[Connection] = set()
        self._stream: Stream | None = None
        self.job: ProcessingJob | None = None

    @property
    def stream(self) -> Stream:
        """The stream, once the topic stands somewhere."""
        assert self._stream is not None
        return self._stream

    @property
    def stands(self) -> bool:
        """Whether the topic has a position."""
        return self._stream is not None

    @property
    def is_idle(self) -> bool:
        """Whether nobody watches or is about to."""
        return not (self.watchers or self.users)

    def __len__(self) -> int:
        return len(self.watchers)

    def stand_at(self, job: "ProcessingJob") -> None:
        """Stand where the job stands; those who watch already get a snapshot."""
        self.job = job
        self._filling = self._pages = None
        self._stream = Stream(job.name, Position(job.epoch, job.seq), job_state(job), conf.RING_EVENTS)
        for connection in self.watchers:
            connection.send(self._stream.snapshot(recovered=False))

    def fall(self) -> None:
        """Stand nowhere: the job is gone."""
        self.job = self._stream = self._filling = self._pages = None

    def begin(self) -> None:
        """Take note that a subscription is being made."""
        self.users += 1

    def end(self) -> None:
        """Take note that it is made, or not; after the last, nothing is kept for others who replay."""
        self.users -= 1
        if not self.users:
            self._pages = None

    def add(self, connection: Connection, user: type_of_user, *, logs: bool) -> None:
        """Let a connection watch from the present position on."""
        self.remove(connection)
        self.watchers[connection] = user
        (self._with_logs if logs else self._plain).add(connection)

    def answer(self, missed: Sequence[Frame] | None, *, logs: bool) -> list[Piece]:
        """Return the answer to a subscription, in pieces, made once for all who resume from the same event."""
        snapshot = self.stream.snapshot(recovered=missed is not None)
        frames = [*visible(missed or (), logs=logs), snapshot]
        made_of = snapshot, frames[0], len(frames)  # which says all, since each answer ends at the same event
        if self._answer is None or self._answer[0] != made_of:
            self._answer = made_of, list(pieces(frames))
        return self._answer[1]

    def remove(self, connection: Connection) -> None:
        """Let a connection watch no more."""
        self.watchers.pop(connection, None)
        self._plain.discard(connection)
        self._with_logs.discard(connection)

    def offer(self, hints: Sequence[Hint]) -> bool:
        """Take those events that come next, and send them together; return whether nothing is missing before any."""
        stream = self._stream
        if stream is None:
            self.touched = True
            return True
        fresh: list[Frame] = []
        is_whole = True
        for hint in hints:
            verdict = stream.offer(hint.seq) if hint.epoch == stream.position.epoch else Verdict.GAP
            if verdict is Verdict.FRESH:
                frame = event_frame(hint.job_id, hint.seq, hint.kind, hint.text)
                stream.append(frame, is_log=hint.kind == EventKind.LOG)
                fresh.append(frame)
            is_whole = is_whole and verdict is not Verdict.GAP
        if fresh:
            _send(self._with_logs, fresh)
            _send(self._plain, [frame for frame in fresh if frame.subject])
        return is_whole

    async def admits(self, user: type_of_user, job: "ProcessingJob") -> bool:
        """Ask the access hook whether a user may see the job; once for all who ask for one user at a time."""
        key = job.epoch, user.pk
        if key not in self._asking:
            asking = asyncio.ensure_future(in_thread(_may_view, user, job))
            self._asking[key] = asking
            asking.add_done_callback(lambda _: self._asking.pop(key))
        return await asyncio.shield(self._asking[key])

    async def missed_since(self, since: Position) -> Sequence[Frame] | None:
        """Return the events after ``since``: all, or the first of them; None if they can't be had whole.

        On return, the present position is still the one that was meant.
        """
        stream = self._stream
        if stream is None or since.epoch != stream.position.epoch:
            return None
        behind = stream.position.seq - since.seq
        if not 0 <= behind <= conf.REPLAY_EVENTS:
            return None
        missed: Sequence[Frame] | None = stream.after(since.seq)
        if missed is None and behind <= conf.RING_EVENTS:
            await self._fill(stream)
            missed = stream.after(since.seq)
        if missed is None:
            if self._pages is None:
                self._pages = Pages(functools.partial(self._read, stream))
            missed = await self._pages.after(since.seq, stream.position.seq)
        return missed if stream is self._stream else None

    async def _fill(self, stream: Stream) -> None:
        """Read the ring's worth of events before the position, once for all who ask."""
        if self._filling is None:
            self._filling = asyncio.ensure_future(self._read_ring(stream))
        await asyncio.shield(self._filling)

    async def _read_ring(self, stream: Stream) -> None:
        upto = stream.position.seq - len(stream.ring)
        try:
            stream.fill(await self._read(stream, upto - conf.RING_EVENTS, upto))
        except BaseException:
            self._filling = None  # the next who asks tries again
            raise

    async def _read(self, stream: Stream, after: int, upto: int) -> Sequence[Frame]:
        events = await in_thread(selectors.events_between, self.job_id, stream.position.epoch, after, upto)
        return [event_frame(event.job_id, event.seq, event.kind, event_text(event)) for event in events]


def _may_view(user: type_of_user, job: "ProcessingJob") -> bool:
    return policy().may_view(user, job)


def _send(connections: Collection[Connection], frames: list[Frame]) -> None:
    """Send frames to each connection."""
    if connections:
        for together, wire in pieces(frames):
            for connection in connections:
                connection.send_all(together, wire)


def visible(frames: Sequence[Frame], *, logs: bool) -> list[Frame]:
    """Return the frames for a client that wants log lines or does not."""
    return [frame for frame in frames if logs or frame.subject]


def pieces(frames: Sequence[Frame]) -> Iterator[Piece]:
    """Yield frames in pieces that are each written in one go; no larger, so that a full socket is noticed in time."""
    begun: list[Frame] = []
    size = 0
    for frame in frames:
        if begun and size + len(frame.wire) > PIECE_BYTES:
            yield begun, b"".join([each.wire for each in begun])
            begun, size = [], 0
        begun.append(frame)
        size += len(frame.wire)
    if begun:
        yield begun, begun[0].wire if len(begun) == 1 else b"".join([each.wire for each in begun])

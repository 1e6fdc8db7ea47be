"""What a client is sent before its subscription is live: what it has missed, or a snapshot in place of that."""

import asyncio
from collections import deque
from collections.abc import Sequence

from ..protocol.codes import CloseCode, ErrorCode
from ..protocol.exceptions import Refused
from ..protocol.frames import Frame
from ..protocol.position import Position
from ..source.store import Span
from .backscroll import Backscroll, read_back
from .chunks import Chunk, chunks, extras, visible
from .subscription import Subscription
from .watched_job import WatchedJob


class Recovery:
    """Brings a subscription to where its job stands, chunk by chunk, each when the connection has room.

    If every event since the client's position is kept, it gets all of them. Otherwise it gets a snapshot, and before
    that the last of the extras that it wants, such as log lines.

    Args:
        job: The job.
        subscription: Whose.
        since: The client's position; None if it has none.

    """

    def __init__(self, job: WatchedJob, subscription: Subscription, since: Position | None) -> None:
        self._job = job
        self._subscription = subscription
        self._offered = since
        self._since = since  # up to where it was sent what it is to see, and what is about to be sent
        self._missed: Sequence[Frame] | None = None  # what comes next, if that is kept
        self._back: deque[Chunk] = deque()  # or what is left of a backscroll
        self._is_replay = True  # until a position turns out not to be kept
        self._has_begun = False
        self._turn: asyncio.Lock | None = None  # the connection's, while there is a backscroll

    @property
    def is_ahead(self) -> bool:
        """Whether the client has seen more than this process, from a server that was faster: then it reads on."""
        job, since = self._job, self._since
        if since is None or job.position is None or job.row is None or since.epoch != job.position.epoch:
            return False
        return job.position.seq < since.seq <= job.row.seq

    async def read(self) -> None:
        """Read what comes next, unless there is something left to be sent.

        Raises:
            Refused: The log can't be shown, or has changed under a replay.
            Error: The database does not answer.

        """
        job, since = self._job, self._since
        assert job.position is not None, "who may see it has been asked"
        if self._back and since is not None and since.epoch == job.position.epoch:
            return
        self._back.clear()
        self.end()
        is_offered = since is not None and not self._subscription.has_skipped(since)
        self._missed = await job.missed_since(since) if since is not None and is_offered else None
        if self._missed is not None:
            return
        if self._has_begun and self._is_replay:
            sentence = "The job's events have changed while they were replayed"
            raise Refused(ErrorCode.UNAVAILABLE, sentence, subject=job.job_id, close=CloseCode.RESYNC)
        self._is_replay = False
        if self._subscription.wants:
            turn = self._subscription.connection.turn
            await turn.acquire()
            self._turn = turn
            if job.position is not None:  # it may be gone by now, as whoever asks for access again finds
                back = await self._read_back(job.position)
                self._since, self._back = back.position, deque(back.chunks)

    async def _read_back(self, position: Position) -> Backscroll:
        """Read the last extras up to where the job stands, once for all who come to that at the same time."""
        job, wants, since, (epoch, upto) = self._job, self._subscription.wants, self._since, position
        after = since.seq if since is not None and since.epoch == epoch and since.seq <= upto else 0
        span = Span(epoch, after, upto)
        return await job.reading_back.once((span, wants), lambda: read_back(job.job_id, span, sorted(wants)))

    def end(self) -> None:
        """Let another of the connection's subscriptions have its turn."""
        if self._turn is not None:
            self._turn.release()
            self._turn = None

    def send(self) -> bool:
        """Send a part of what was read; return whether that was the last, so that the subscription is live.

        No event can come between the parts of the last one, since nothing is awaited here.
        """
        job, subscription, since = self._job, self._subscription, self._since
        if self._back:
            subscription.connection.send_chunk(self._back.popleft(), lasting=True)
            if not self._back:
                self.end()
            return False
        if since is None or self._missed is None:
            job.attach(subscription, None, (), recovered=False)
            return True
        piece = next((chunk.frames for chunk in chunks(self._missed)), ())
        self._since = since = Position(since.epoch, since.seq + len(piece))
        choose = visible if self._is_replay else extras
        if since == job.position:
            job.attach(subscription, self._offered, choose(self._missed, subscription.wants), recovered=self._is_replay)
            return True
        for chunk in chunks(choose(piece, subscription.wants)):
            subscription.connection.send_chunk(chunk, lasting=True)
            self._has_begun = True
        if self._is_replay:
            subscription.note_sent(since)
        return False

"""What a client is sent before its subscription is live: what it has missed, or a snapshot in place of that."""

import asyncio
from collections import deque
from collections.abc import Sequence

from ..protocol.codes import CloseCode, ErrorCode
from ..protocol.exceptions import Refused
from ..protocol.frames import Frame
from ..protocol.position import Position
from ..source.store import Span
from .backscroll import Beginning, Page
from .chunks import Chunk, chunks, extras, visible
from .subscription import Subscription
from .watched_job import WatchedJob


class Recovery:
    """Brings a subscription to where its job stands, chunk by chunk, each when the connection has room.

    If every event since the client's position is kept, it gets all of them. Otherwise it gets a snapshot, and before
    that the extras that it wants, such as log lines: those after its position, or the last of them if it has none.

    Args:
        job: The job.
        subscription: Whose.
        since: The client's position; None if it has none.
        turns: Of which one is taken while a backscroll is read.

    """

    def __init__(
        self, job: WatchedJob, subscription: Subscription, since: Position | None, turns: asyncio.Semaphore
    ) -> None:
        self._job = job
        self._subscription = subscription
        self._offered = since
        self._since = since  # up to where it was sent what it is to see, and what is about to be sent
        self._turns = turns
        self._missed: Sequence[Frame] | None = None  # what comes next, if that is kept
        self._beginning: Beginning | None = None  # of a backscroll
        self._page: Page | None = None  # of it, held for others who come to it
        self._back: deque[Chunk] = deque()  # what is left of the page
        self._is_replay = True  # until a position turns out not to be kept
        self._has_begun = False
        self._turn: asyncio.Lock | None = None  # the connection's, while there is a page

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
        self.end()
        if self._is_replay:
            await self._read_replay(since)
        if not self._is_replay and self._subscription.wants:
            await self._read_back()

    def end(self) -> None:
        """Drop what was read, and let another of the connection's subscriptions have its turn."""
        self._missed = self._page = None
        self._back.clear()
        if self._turn is not None:
            self._turn.release()
            self._turn = None

    async def _read_replay(self, since: Position | None) -> None:
        is_offered = since is not None and not self._subscription.has_skipped(since)
        self._missed = await self._job.missed_since(since) if since is not None and is_offered else None
        if self._missed is None and self._has_begun:
            sentence = "The job's events have changed while they were replayed"
            raise Refused(ErrorCode.UNAVAILABLE, sentence, subject=self._job.job_id, close=CloseCode.RESYNC)
        self._is_replay = self._missed is not None

    async def _read_back(self) -> None:
        """Read the next page of the extras, up to where the job stands; what comes next from memory, to get there."""
        job, turn = self._job, self._subscription.connection.turn
        self._missed = self._recent()
        if self._missed is not None:
            return
        await turn.acquire()
        self._turn = turn
        while job.position is not None and not self._back:  # it may be gone by now, as whoever asks again finds
            await self._read_page(job.position)
            if not self._back and (recent := self._recent()) is not None:
                self.end()
                self._missed = recent
                return

    def _recent(self) -> Sequence[Frame] | None:
        """Return what comes next, if all of that is in memory, and wanted."""
        beginning, since = self._beginning, self._since
        if beginning is None or since is None or since.seq < max(beginning.after.values()):
            return None
        return self._job.recent_since(since)

    async def _read_page(self, position: Position) -> None:
        job, wants, since, beginning = self._job, self._subscription.wants, self._since, self._beginning
        if since is None or beginning is None or beginning.epoch != position.epoch:
            self._beginning = await job.backscroll.begin(position, since, wants, self._turns)
            self._since = self._beginning.position
            self._back.append(self._beginning.chunk)
            return
        span = Span(position.epoch, since.seq, position.seq)
        self._page = await job.backscroll.page(span, beginning.after, self._turns)
        self._since = Position(position.epoch, self._page.upto)
        self._back.extend(self._page.chunks)

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

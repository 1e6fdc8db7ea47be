"""A tap: one subscription of the hub, on which all rest who wait for a job, however many."""

import asyncio
import json

from ..delivery.chunks import Chunk
from ..delivery.connection import Connection, FlowControl
from ..delivery.hub import Hub
from ..identity.identity import Identity
from ..protocol.codes import CloseCode, ErrorCode
from ..protocol.exceptions import Refused
from ..protocol.frames import Frame
from ..protocol.position import Position
from ..source.vocabulary import TERMINAL
from .asked import Asked
from .pieces import Piece, piece_of
from .refusals import too_many_waits, unavailable


class Tap:
    """Watches one job as a socket does, with the same checks of access, and wakes those who wait at each event.

    What it was sent it does not keep: the hub has the last events of each watched job. It is the transport of its own
    connection (`progress.delivery.connection.Sender`), and never full.

    Args:
        hub: Where it subscribes.
        job_id: The job.
        identity: Who waits: all of them have the same.

    """

    is_writable = True

    def __init__(self, hub: Hub, job_id: str, identity: Identity) -> None:
        self.flow: FlowControl | None = None
        self.connection = Connection(self)
        self.connection.identity = identity
        self.job_id = job_id
        self.waiting = 0  # how many, of a public one
        self.left_at = 0.0  # when the last of them had their answer, by the loop's clock
        self.has_begun = False  # it was admitted to the job, or refused
        self.refusal: Refused | None = None  # why it watches no longer, unless the log says more
        self.news: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # done at the next event, or end
        self._hub = hub
        self._state: Frame | None = None  # the last that shows the job's
        self._beginning: asyncio.Task[None] | None = None
        hub.enter(self.connection)

    # Who waits

    def begin(self, since: Position) -> None:
        """Have it watch the job from a position; what follows comes as news."""
        self._beginning = asyncio.ensure_future(self._subscribe(since))

    async def _subscribe(self, since: Position) -> None:
        try:
            await self._hub.subscribe(self.connection, self.job_id, since, logs=True, output=True)
        except Refused as refused:
            self.refusal = too_many_waits() if refused.code is ErrorCode.TOO_MANY_CONNECTIONS else unavailable()
        finally:
            self.has_begun = True
            self.wake()

    @property
    def is_over(self) -> bool:
        """Whether it watches no longer: the job may not be seen any more, is gone, or can't be read."""
        return self.refusal is not None or (self.has_begun and self.job_id not in self.connection.watched)

    def piece(self, asked: Asked) -> Piece | None:
        """Return what follows a position, from memory; None if that does not reach back so far, or may not be shown."""
        job = self._hub.jobs.get(self.job_id)
        if job is None or asked.since is None or self.refusal is not None:
            return None
        subscription = job.subscriptions.get(self.connection)
        if subscription is None or subscription.stopped_at is not None:
            return None
        events = job.recent_since(asked.since)
        if events is None:
            return None
        return piece_of(asked.since, events, asked.wants, is_end=self._is_end())

    def _is_end(self) -> bool:
        return self._state is not None and json.loads(self._state.payload)["status"] in TERMINAL

    def wake(self) -> None:
        """Have all who wait look again."""
        self.news.set_result(None)
        self.news = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """Watch no longer; nobody waits."""
        if self._beginning is not None:
            self._beginning.cancel()
        self._hub.leave(self.connection)

    # What its connection calls

    def write(self, chunk: Chunk) -> None:
        """Note what was sent, and wake who waits."""
        for frame in chunk.frames:
            if frame.state_of == self.job_id:
                self._state = frame
        self.wake()

    def close(self, code: CloseCode) -> None:
        """Watch no longer: the session or token of who waits has ended, or the subscription was refused."""
        self.refusal = self.refusal or unavailable()
        self.wake()

    def abort(self, code: CloseCode) -> None:
        """Do as `close`: nothing is stuck here."""
        self.close(code)

    def stop(self) -> None:
        """Call nothing more; nothing is under way."""
        self.flow = None

"""One connection's subscription to one job."""

from typing import Any

from ..broker.places import Places
from ..conf import conf
from ..protocol import frames
from ..protocol.codes import CloseCode, ErrorCode
from ..protocol.exceptions import Refused
from ..protocol.position import Position
from ..source.vocabulary import EventKind
from .connection import Connection


class Subscription:
    """One connection's subscription to one job.

    Args:
        connection: Whose.
        wants: Which extras it gets, such as log lines.
        is_required: Whether the connection has no purpose without it, since its URL names the job.

    """

    __slots__ = ("about", "begin", "connection", "has_skipped_events", "is_required", "places", "stopped_at", "wants")

    def __init__(
        self, connection: Connection, *, wants: frozenset[EventKind] = frozenset(), is_required: bool = False
    ) -> None:
        self.connection = connection
        self.wants = wants
        self.is_required = is_required
        self.places: Places | None = None  # who has given it a place among the job's watchers
        self.begin: Position | None = None  # after which it was sent every event
        self.has_skipped_events = False  # a snapshot was sent instead of events
        self.about: dict[str, Any] | None = None  # the job, as the last snapshot said
        self.stopped_at: Position | None = None  # after which nothing is sent, until the access policy was asked again

    async def take_place(self, places: Places, job_id: str) -> None:
        """Take a place among the job's watchers.

        Raises:
            Refused: Too many are watching.

        """
        if not await places.take(f"job {job_id}", conf.MAX_WATCHERS_PER_JOB):
            raise Refused(
                ErrorCode.TOO_MANY_CONNECTIONS,
                "Too many are watching this job",
                subject=job_id,
                close=CloseCode.TOO_MANY_CONNECTIONS,
            )
        self.places = places

    def give_back_place(self, job_id: str) -> None:
        """Give the place back, if there is one."""
        if self.places is not None:
            self.places.give_back(f"job {job_id}")
            self.places = None

    def has_skipped(self, since: Position) -> bool:
        """Return whether a snapshot was sent, or is to be, instead of what follows a position."""
        return self.begin is not None and self.begin.epoch == since.epoch and since < self.begin

    def note_sent(self, position: Position) -> None:
        """If it is stopped, remember that it was sent everything up to here."""
        if self.stopped_at is not None:
            self.stopped_at = position

    def refuse(self, refused: Refused) -> None:
        """Send the error; a connection that is closed for it, or has no other purpose, is to come back."""
        connection = self.connection
        connection.send(frames.error(refused))
        if refused.close is not None or (self.is_required and refused.temporary):
            connection.close(refused.close or CloseCode.RESYNC)
        elif connection.is_one_way and not (connection.watched or connection.pending):
            connection.close(CloseCode.JOB_NOT_FOUND)

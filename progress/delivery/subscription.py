"""One socket's watching of one job."""

from ..protocol import frames
from ..protocol.codes import CloseCode
from ..protocol.exceptions import Refused
from ..protocol.position import Position
from ..source.store import type_of_user
from .connection import Connection


class Subscription:
    """One socket's watching of one job."""

    __slots__ = ("begin", "connection", "is_addressed", "logs", "stopped_at", "user", "was_passed_over")

    def __init__(
        self, connection: Connection, user: type_of_user, *, logs: bool = False, is_addressed: bool = False
    ) -> None:
        self.connection = connection
        self.user = user
        self.logs = logs
        self.is_addressed = (
            is_addressed  # the job is that of the URL: without this subscription the socket has no purpose
        )
        self.begin: Position | None = None  # after which it was sent all there is
        self.was_passed_over = False  # a snapshot was sent instead of events
        self.stopped_at: Position | None = None  # after which nothing is sent until access was asked for again

    def reached(self, position: Position) -> None:
        """Go on from here, if it is stopped, for it was sent all up to here."""
        if self.stopped_at is not None:
            self.stopped_at = position

    def tell(self, refused: Refused) -> None:
        """Tell the watcher what it can't have; a socket that has no other purpose is to come back for it."""
        self.connection.send(frames.error(refused))
        if refused.close is not None or (self.is_addressed and refused.temporary):
            self.connection.close(refused.close or CloseCode.RESYNC)

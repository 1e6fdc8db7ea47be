"""Closes the sockets of strangers who watch nothing: each takes memory, and a place that somebody else could have."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..conf import conf
from ..protocol import frames
from ..protocol.codes import CloseCode, ErrorCode
from ..protocol.exceptions import Refused
from .connection import Connection
from .feed import Feed

LOOKS = 10  # in the time for which a socket may be idle


@contextmanager
def subscribing(connection: Connection, subject: str) -> Iterator[None]:
    """Let a connection not count as idle meanwhile, however long it takes to send what was missed."""
    connection.pending[subject] = None
    try:
        yield
    finally:
        del connection.pending[subject]
        connection.used_at = asyncio.get_running_loop().time()


class IdleConnections:
    """Closes connections that have watched nothing for ``PROGRESS_IDLE_SECONDS`` and of which nobody is known.

    Args:
        connections: All of them.
        feed: Whose watchers are not idle.

    """

    def __init__(self, connections: Mapping[Connection, None], feed: Feed) -> None:
        self._connections = connections
        self._feed = feed

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(conf.IDLE_SECONDS / LOOKS)
            self._look(asyncio.get_running_loop().time())

    def _look(self, now: float) -> None:
        for connection in list(self._connections):
            if connection.watched or connection.identity.proof is not None or self._feed.is_watched_by(connection):
                connection.used_at = now
            elif not connection.pending and now - connection.used_at >= conf.IDLE_SECONDS:
                connection.send(frames.error(Refused(ErrorCode.IDLE, "Nothing was watched on this socket")))
                connection.close(CloseCode.IDLE)

"""Hears the doorbell (`progress.broker.doorbell`), for as long as somebody watches; a ring has the log reader look."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from django.db import connections

from ..broker import bells, doorbell
from ..broker.notifier import CHANNEL
from ..source.store import database_alias, is_in_tests
from .reads import TIME_LIMITS

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.005  # after a ring, in which no other is taken, whoever rings and however often
RETRY_SECONDS = 5.0  # after which it is tried again where there is no hearing

Ring = Callable[[], None]


async def hear(ring: Ring) -> None:
    """Call ``ring`` when somebody rings, until this is cancelled or where nobody can ring.

    Raises nothing: where the doorbell can't be heard, news are looked for as often as without it.
    """
    hearing, said = _way_to_hear(), ""
    while hearing is not None:
        try:
            await hearing(ring)
            return
        except Exception as error:  # of the file system, the driver, or what is between it and the database
            if repr(error) != said:
                said = repr(error)
                logger.info("The doorbell is not heard (%s): news come as fast as it is looked for them.", said)
        await asyncio.sleep(RETRY_SECONDS)


def _way_to_hear() -> Callable[[Ring], Awaitable[None]] | None:
    connection: Any = connections[database_alias()]
    if is_in_tests():  # a test's database is this process's own, and can't be dropped while somebody is connected
        return None
    if connection.vendor == "postgresql" and hasattr(connection.Database, "AsyncConnection"):  # psycopg 3
        return partial(_hear_notifications, connection)
    file = bells.database_file()
    return partial(_hear_bell, file) if file is not None and bells.ARE_POSSIBLE else None


async def _hear_bell(file: str, ring: Ring) -> None:
    loop = asyncio.get_running_loop()
    with bells.hung(file) as bell:
        while True:
            # What comes in the pause waits in the kernel, and so do those who send more than it keeps.
            await loop.sock_recv(bell, 1)
            ring()
            await asyncio.sleep(PAUSE_SECONDS)


async def _hear_notifications(connection: Any, ring: Ring) -> None:
    parameters = {**TIME_LIMITS, **connection.get_connection_params(), "autocommit": True}
    parameters.pop("cursor_factory", None)  # which is for connections that block
    listening = await connection.Database.AsyncConnection.connect(**parameters)
    try:
        if await _is_pooled(listening):
            logger.info("The doorbell is not heard through a pooler of connections: news come with the sweeps.")
            return
        await listening.execute(f"LISTEN {CHANNEL}")
        ring()  # for what was said before, or came with the answer: the driver has dropped that
        while True:
            await _readable(listening.fileno())
            listening.pgconn.consume_input()
            if _is_rung(listening.pgconn):
                ring()
            await asyncio.sleep(PAUSE_SECONDS)
    finally:
        await listening.close()


async def _is_pooled(listening: Any) -> bool:
    """Return whether a pooler, as pgbouncer, stands between us and the database: it says that it is another process.

    It may lend the database's connection to others, who would then be sent what we listen for, and keep it.
    """
    (process,) = await (await listening.execute("SELECT pg_backend_pid()")).fetchone()
    return bool(process != listening.info.backend_pid)


def _is_rung(connection: Any) -> bool:
    """Take all notifications that have come; return whether one is of another process."""
    is_rung = False
    while (notification := connection.notifies()) is not None:
        is_rung = is_rung or notification.be_pid != doorbell.own_backend()
    return is_rung


async def _readable(descriptor: int) -> None:
    """Wait until there is something to read; the driver's own waiting wakes up ten times a second."""
    loop, is_readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, is_readable.set)
    try:
        await is_readable.wait()
    finally:
        loop.remove_reader(descriptor)

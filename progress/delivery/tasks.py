"""Tasks that run in the background: kept, or the event loop would let them be collected, and ended together."""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable

from django.db import Error

logger = logging.getLogger(__name__)

RESTART_SECONDS = 1.0  # before work that failed is started again


class Tasks:
    """Those that were started and are not done."""

    def __init__(self) -> None:
        self.running: set[asyncio.Future[None]] = set()

    def start(self, work: Awaitable[None]) -> None:
        """Start a task."""
        task = asyncio.ensure_future(work)
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    def keep_up(self, work: Callable[[], Awaitable[None]]) -> None:
        """Start work in a task that starts it again after whatever error, so that nobody's updates end for good."""
        self.start(_forever(work))

    def cancel(self) -> None:
        """End them all."""
        for task in self.running:
            task.cancel()


async def _forever(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except (Error, sqlite3.Error) as error:
            logger.warning("The database can't be read (%s); trying again.", error)
        except Exception:
            logger.exception("This should not happen; trying again.")
        await asyncio.sleep(RESTART_SECONDS)

"""Visits to the database for watchers: in threads of their own, and with a time limit.

Writers have other threads, so that neither waits for the other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, ParamSpec, TypeVar

from django.db import Error, OperationalError, connections

from ..source.store import ThreadPool

P = ParamSpec("P")
R = TypeVar("R")
K = TypeVar("K", bound=Hashable)

MAX_THREADS = 4  # and as many database connections
READ_SECONDS = 5.0  # after which a read counts as failed
# Time limits of libpq, since a thread that waits for a silent server can't be stopped.
TIME_LIMITS = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}


def limit_waiting() -> None:
    """Give this thread's connections to PostgreSQL time limits, where the settings have none."""
    for connection in connections.all():
        if connection.vendor == "postgresql":
            options = {**TIME_LIMITS, **connection.settings_dict["OPTIONS"]}
            connection.settings_dict = {**connection.settings_dict, "OPTIONS": options}


_pool = ThreadPool("progress-reads", lambda: MAX_THREADS, limit_waiting)


async def in_thread(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function that visits the database in a thread, and return its result.

    Raises:
        OperationalError: There was none within `READ_SECONDS`; a later one is dropped.

    """
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await _pool.run(function, *args, **kwargs)
    except TimeoutError as error:
        raise OperationalError(f"no answer within {READ_SECONDS:g} s") from error


def each(read: Callable[[Sequence[str]], Mapping[str, R]], job_ids: Sequence[str]) -> dict[str, R | Exception]:
    """Read for all jobs at once; if what is stored of one can't be read, for each by itself. Called in a thread.

    Returns:
        What was read of each job, or the exception that this raised.

    Raises:
        Error: The database does not answer.

    """
    try:
        return dict(read(job_ids))
    except Error:
        raise
    except Exception as error:
        if len(job_ids) == 1:
            return {job_ids[0]: error}
    return {job_id: found for one in job_ids for job_id, found in each(read, [one]).items()}


class Shared(Generic[K, R]):
    """Runs the same work once for all who ask while it runs."""

    def __init__(self) -> None:
        self._doing: dict[K, asyncio.Future[R]] = {}

    async def once(self, key: K, work: Callable[[], Awaitable[R]]) -> R:
        """Return what the work returns, or raise what it raises, whoever started it."""
        if key not in self._doing:
            self._doing[key] = asyncio.ensure_future(work())
            self._doing[key].add_done_callback(lambda done: self._end(key, done))
        return await asyncio.shield(self._doing[key])

    def _end(self, key: K, done: asyncio.Future[R]) -> None:
        del self._doing[key]
        if not done.cancelled():
            done.exception()  # retrieved, or asyncio would log it where nobody waits any more

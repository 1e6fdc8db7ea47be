"""Bounded pools of threads for database work of asynchronous code.

Django's own bridge runs all such work of a process in one thread, so that one slow query delays
everybody's. A pool runs a few at once; each thread keeps its database connection.
"""

import asyncio
import contextvars
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from asgiref.sync import AsyncToSync, sync_to_async
from django.core import mail
from django.db import close_old_connections, connections

from .number_settings import number_setting

P = ParamSpec("P")
R = TypeVar("R")

MAX_THREADS = 4  # unless ``JOBS_MAX_THREADS`` says otherwise; also the connections that a process keeps for it
KEEP_SECONDS = 60.0  # for which a thread's connection is used again, however long those of requests are kept


class ThreadPool:
    """A few threads, made when they are needed, and anew in a forked child, which has none of its parent's.

    Args:
        name: What the threads are called.
        size: Returns how many there are at most.
        prepare: Called in each thread before its first work.

    """

    def __init__(self, name: str, size: Callable[[], int], prepare: Callable[[], object] = lambda: None) -> None:
        self._name, self._size, self._prepare = name, size, prepare
        self._executor: ThreadPoolExecutor | None = None
        os.register_at_fork(after_in_child=self._after_fork)

    async def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that uses the database in one of the threads, and return what it returns."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._size(), self._name, self._begin)
        call = partial(contextvars.copy_context().run, _with_fresh_connection, partial(function, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def _begin(self) -> None:
        keep_connections()
        self._prepare()

    def _after_fork(self) -> None:
        self._executor = None


def is_in_tests() -> bool:
    """Return whether these are Django's tests, which drop the database while threads live that keep a connection."""
    return hasattr(mail, "outbox")  # which is there in tests only


def keep_connections() -> None:
    """Have this thread keep its connections; not in tests."""
    if not is_in_tests():
        for connection in connections.all():
            kept = {"CONN_MAX_AGE": KEEP_SECONDS, "CONN_HEALTH_CHECKS": True}
            connection.settings_dict = {**connection.settings_dict, **kept}


def _with_fresh_connection(call: Callable[[], R]) -> R:
    close_old_connections()
    try:
        return call()
    finally:
        close_old_connections()


max_threads = number_setting("JOBS_MAX_THREADS", MAX_THREADS, 1, 1_000, "jobs.E003")
_pool = ThreadPool("jobs-db", max_threads)  # for those who write; `progress.delivery.reads` has another for who watches


async def in_thread(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function that writes jobs in a thread, and return what it returns.

    Where synchronous code has called the asynchronous one (``async_to_sync``, as Django's test client and its
    asynchronous tests do), that is the caller's thread: what it writes belongs to the transaction that is open there.
    """
    if getattr(AsyncToSync.executors, "current", None) is not None:
        return await sync_to_async(function)(*args, **kwargs)
    return await _pool.run(function, *args, **kwargs)


def async_twin(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """Return the asynchronous form of a method: the same, run in the bounded pool of threads."""

    async def twin(*args: P.args, **kwargs: P.kwargs) -> R:
        return await in_thread(method, *args, **kwargs)

    twin.__name__ = f"a{method.__name__}"
    twin.__doc__ = f"Do what `{method.__name__}` does, without blocking the event loop."
    return twin

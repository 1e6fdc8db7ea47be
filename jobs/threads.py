"""Bounded pools of threads for database work of asynchronous code.

Django's own bridge runs all such work of a process in one thread, so that one slow query delays
everybody's. A pool runs a few at once; each thread keeps its database connection.
"""

import asyncio
import contextvars
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

P = ParamSpec("P")
R = TypeVar("R")

MAX_THREADS = 4  # also the number of database connections that a process keeps for it


class ThreadPool:
    """A few threads, made when they are needed, and anew in a forked child, which has none of its parent's.

    Args:
        name: What the threads are called.
        size: How many there are at most.
        prepare: Called in each thread before its first work.

    """

    def __init__(self, name: str, size: int, prepare: Callable[[], object] | None = None) -> None:
        self._make = partial(ThreadPoolExecutor, size, thread_name_prefix=name, initializer=prepare)
        self._executor = self._make()
        os.register_at_fork(after_in_child=self._after_fork)

    async def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that uses the database in one of the threads, and return what it returns."""
        call = partial(contextvars.copy_context().run, _with_fresh_connection, partial(function, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def _after_fork(self) -> None:
        self._executor = self._make()


def _with_fresh_connection(call: Callable[[], R]) -> R:
    close_old_connections()
    try:
        return call()
    finally:
        close_old_connections()


in_thread = ThreadPool("jobs-db", MAX_THREADS).run  # for those who write; `progress.reads` has another for who watches

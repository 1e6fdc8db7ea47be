"""A bounded pool of threads for database work of asynchronous code.

Django's own bridge runs all such work of a process in one thread, so that one slow query delays
everybody's. This pool runs a few at once; each thread keeps its database connection.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

P = ParamSpec("P")
R = TypeVar("R")

MAX_THREADS = 4  # also the number of database connections that a process keeps for it

_pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="jobs-db")


async def in_thread(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function that uses the database in the pool, and return what it returns."""
    call = partial(contextvars.copy_context().run, _with_fresh_connection, partial(function, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(_pool, call)


def _with_fresh_connection(call: Callable[[], R]) -> R:
    close_old_connections()
    try:
        return call()
    finally:
        close_old_connections()

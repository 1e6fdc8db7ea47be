"""Python's garbage collector, paused while very much is made that is soon gone by itself."""

import asyncio
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

MOST_SECONDS = 2.0  # of a pause: what a database or a policy takes longer for may leave much that only it finds

_lock = threading.Lock()
_pauses: set[object] = set()
_is_ours = False  # what turned it off: nobody else had before


@contextmanager
def no_collections() -> Iterator[None]:
    """Have no garbage collected meanwhile, in any thread, for `MOST_SECONDS` at most. It takes a running event loop.

    What is made and dropped by reference counts alone would have the collector look again and again, and now and then
    through all objects of all connections, for nothing, while the event loop stands still.
    """
    pause = object()
    _begin(pause)
    timer = asyncio.get_running_loop().call_later(MOST_SECONDS, _end, pause)
    try:
        yield
    finally:
        timer.cancel()
        _end(pause)


def _begin(pause: object) -> None:
    global _is_ours
    with _lock:
        if not _pauses:
            _is_ours = gc.isenabled()
            gc.disable()
        _pauses.add(pause)


def _end(pause: object) -> None:
    with _lock:
        if pause in _pauses:
            _pauses.remove(pause)
            if not _pauses and _is_ours:
                gc.enable()


def _after_fork() -> None:
    # Who has paused it does not go on in the child.
    global _lock
    _lock = threading.Lock()
    for pause in list(_pauses):
        _end(pause)


os.register_at_fork(after_in_child=_after_fork)

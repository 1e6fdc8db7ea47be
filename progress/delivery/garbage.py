"""Python's garbage collector, paused while very much is made that is soon gone by itself."""

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_pauses = 0
_is_ours = False  # the pause: nobody else had turned it off before


@contextmanager
def no_collections() -> Iterator[None]:
    """Have no garbage collected meanwhile, in any thread.

    What is made and dropped by reference counts alone would have the collector look again and again, and now and then
    through all objects of all connections, for nothing, while the event loop stands still.
    """
    global _pauses, _is_ours
    with _lock:
        _pauses += 1
        if _pauses == 1:
            _is_ours = gc.isenabled()
            gc.disable()
    try:
        yield
    finally:
        with _lock:
            _pauses -= 1
            if not _pauses and _is_ours:
                gc.enable()


def _after_fork() -> None:
    # Who has paused it does not go on in the child.
    global _lock, _pauses
    _lock = threading.Lock()
    if _pauses and _is_ours:
        gc.enable()
    _pauses = 0


os.register_at_fork(after_in_child=_after_fork)

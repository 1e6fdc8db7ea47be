"""How fast housekeeping goes: in batches, with pauses in which all others write.

On SQLite a writer that finds the file locked sleeps for up to 100 ms between two tries, and is overtaken by whoever
takes the lock again at once. So the pause matters more than the size of a batch.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

PAUSE_SECONDS = 0.02  # after a batch, at least
MAX_PAUSE_SECONDS = 1.0  # at most: what took long may have waited for others
REST = 11.0  # times the processor's time of the batch, so that all of it, pauses and all, stays below a tenth of a core


def paced(batches: Iterable[T], pause: Callable[[float], object] = time.sleep) -> Iterator[T]:
    """Yield what each batch has done, and pause after it: as long as it took, or longer.

    Args:
        batches: Does a batch at each step.
        pause: Waits for some seconds; what it returns, if true, ends the work.

    """
    began, worked = time.monotonic(), time.thread_time()
    for batch in batches:
        yield batch
        rest = max(PAUSE_SECONDS, time.monotonic() - began, REST * (time.thread_time() - worked))
        if pause(min(rest, MAX_PAUSE_SECONDS)):
            return
        began, worked = time.monotonic(), time.thread_time()

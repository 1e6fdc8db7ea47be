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
REST = 9.0  # times as long as the batch took, so that all of it takes a tenth of a core at most


def paced(batches: Iterable[T], pause: Callable[[float], object] = time.sleep) -> Iterator[T]:
    """Yield what each batch has done, and pause after it.

    Args:
        batches: Does a batch at each step.
        pause: Waits for some seconds; what it returns, if true, ends the work.

    """
    began = time.monotonic()
    for batch in batches:
        yield batch
        if pause(min(max(PAUSE_SECONDS, REST * (time.monotonic() - began)), MAX_PAUSE_SECONDS)):
            return
        began = time.monotonic()

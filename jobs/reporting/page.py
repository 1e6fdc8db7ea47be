"""Memory that two processes share: what the one has counted is the other's even if it is killed right after."""

import mmap
import os
import sys
import tempfile

SIZE = 16  # bytes: two doubles


class Page:
    """What a process has counted, and whether it has something to say that is not on its way yet.

    Only that process writes it. A double that is aligned is written and read as a whole.

    Args:
        memory: The file descriptor of what `shared_memory` has made, in either process.

    Raises:
        ValueError: It is another file.
        OSError: The same.

    """

    def __init__(self, memory: int) -> None:
        self._memory = mmap.mmap(memory, SIZE)
        self._numbers = memoryview(self._memory).cast("d")

    @property
    def counted(self) -> float:
        """How many units the process has counted."""
        number = self._numbers[0]
        return int(number) if number.is_integer() else number

    @counted.setter
    def counted(self, number: float) -> None:
        self._numbers[0] = number

    @property
    def is_behind(self) -> bool:
        """Whether there is something that the process has said, and that can't be read from its socket yet."""
        return bool(self._numbers[1])

    @is_behind.setter
    def is_behind(self, is_behind: bool) -> None:
        self._numbers[1] = is_behind

    def close(self) -> None:
        """Give it back."""
        self._numbers.release()
        self._memory.close()


def shared_memory() -> int:
    """Make the memory of a page, all of it 0, and return its file descriptor."""
    if sys.platform == "linux":
        memory = os.memfd_create("job-reports")
    else:
        with tempfile.TemporaryFile(buffering=0) as file:
            memory = os.dup(file.fileno())
    os.write(memory, bytes(SIZE))
    return memory

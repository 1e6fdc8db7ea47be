"""What a job puts out at length, as a text file: a model's answer as it arises, what a command prints."""

import io
from collections.abc import Callable

from .notes import Notes


class Output(io.TextIOBase):
    """A stream that is written to, by ``print(file=…)`` and ``contextlib.redirect_stdout`` as well.

    What is written is only noted: watchers see it a moment later, whole and in order, up to ``JOBS_OUTPUT_BYTES`` of a
    job. Threads may share it.

    Args:
        notes: Of the run.
        name: Which of the job's streams it is.
        pause: Called after each write, and raises if the job is to stop.

    """

    def __init__(self, notes: Notes, name: str, pause: Callable[[], object]) -> None:
        self._notes, self._name, self._pause = notes, name, pause

    @property
    def name(self) -> str:
        """The stream's name."""
        return self._name

    def writable(self) -> bool:
        """Return that it can be written to."""
        return True

    def write(self, text: str, /) -> int:
        """Put out a text; return how many characters it has.

        Raises:
            TypeError: It is no string.
            JobCancelled: Somebody asked for the job to be cancelled.

        """
        if not isinstance(text, str):
            raise TypeError(f"Output takes strings, not {type(text).__name__}.")
        self._notes.output(text, self._name)
        if self._notes.must_pause:
            self._pause()
        return len(text)

"""A stage of a run, as the job's code holds it: to be put into a ``with`` block, or not."""

from contextlib import AbstractContextManager
from types import TracebackType

from .notes import Notes
from .stages import Part


class Stage(AbstractContextManager[None]):
    """A stage that has begun. In a ``with`` block, what begins is within it, and it ends with the block.

    One that an exception leaves stays where it is, so that the job fails there; if it goes on, the stage ends once
    another begins. A block that is left after its stage has ended, in the wrong order, changes nothing.
    """

    def __init__(self, notes: Notes, part: Part) -> None:
        self._notes, self._part = notes, part

    def __enter__(self) -> None:
        self._part.is_entered = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._notes.leave(self._part, is_done=error is None)

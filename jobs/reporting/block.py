"""A block of code that is a run of a job: what may be asked of it while it is open, by others too than that code."""

import os
import weakref
from abc import ABC, abstractmethod

from .entered import reporters
from .notes import Notes
from .report_thread import ReportThread
from .run import Run

_entered: "weakref.WeakSet[Block]" = weakref.WeakSet()


class Block(ABC):
    """A run of a job, begun when its code is entered and ended when that is left."""

    is_open = False  # its code is being run
    _process = 0  # in which it is
    _run: Run
    _notes: Notes
    _thread: ReportThread
    # What was being handled when it began, and so has not ended it. By its id: it holds all frames that it came
    # through, and one of them may hold the generator, which would not end then before it is collected as garbage.
    _handled = id(None)

    @abstractmethod
    def _begin_run(self) -> None:
        """Record the start."""

    @abstractmethod
    def _end_run(self, error: BaseException | None) -> bool:
        """Record the end, by what the block was left with; return whether that goes no further."""

    @property
    def _is_of_this_process(self) -> bool:
        """Whether it was entered here: a forked child ends nothing of its parent's."""
        return self._process == os.getpid()

    def _enter(self) -> None:
        self.is_open, self._process = True, os.getpid()
        _entered.add(self)
        reporters.enter(self)

    def _leave(self) -> None:
        self.is_open = False
        reporters.leave(self)

    def note(self, *, current: float, total: float | None, message: str | None) -> None:
        """Do what `Reporter.report` does, without raising anything: what is reported next does that."""
        if self.is_open:
            self._notes.say(current=current, total=total, message=message)
            self._hand_on()

    def note_line(self, text: str, level: str) -> None:
        """Do what `Reporter.log` does, without raising anything; what is logged by writing it is left out."""
        if self.is_open and not (self._thread.is_this or self._run.is_written_here):
            self._notes.log(text, level)
            self._hand_on()

    def _hand_on(self) -> None:
        if self._run.others.link is not None:
            self._run.others.link.hand_on()

    def unless_handled_before(self, error: BaseException | None) -> BaseException | None:
        """Return an exception, unless it was being handled already when the block was entered."""
        return None if id(error) == self._handled else error


def _after_fork() -> None:
    for block in list(_entered):
        if block.is_open:
            block._run.others.after_fork()


os.register_at_fork(after_in_child=_after_fork)

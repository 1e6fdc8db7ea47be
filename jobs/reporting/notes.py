"""What a job's own code has counted and said, until it is written: cheap to add to, from any thread."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from .. import changes, validation
from ..exceptions import InvalidValue

logger = logging.getLogger(__name__)

T = TypeVar("T")
Entry = tuple[str, dict[str, Any]]  # a method of the lifecycle, and its arguments

MAX_WAITING = 4 * 1024 * 1024  # characters of stages and log lines that wait; what comes then is left out
GATHER_SECONDS = 0.1  # after the first of some log lines, so that they are written together
ENTRY_SIZE = 200  # characters that an entry counts for besides its text


class Loop:
    """How many items of a loop are done. Only the loop writes it, without a lock."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = 0


class Notes:
    """What is counted and said of one run of a job. Whoever writes it takes it out.

    Nothing is refused: a text that is too long is cut, what is no number is left out, and a warning logged once. Ticks
    are joined; stages and log lines are kept in order. Where too many of these wait, lines are left out, which a line
    says, and of the stages in between only the last is kept.

    Args:
        job_id: For the warning.

    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.total: float | None = None
        self.must_pause = True  # whoever counts is to look whether there is something else to do
        self.wake: Callable[[float], object] = _nobody  # has it written within so many seconds
        self.lock = threading.RLock()  # reentrant: a loop that is collected as garbage meanwhile is counted as well
        self._counted: float = 0  # but for the loops
        self._loops: list[Loop] = []
        self._taken: float = 0  # the count, as it was taken last
        self._tick: dict[str, Any] = {}  # what was said since, to be joined with what comes
        self._entries: list[Entry] = []  # what comes before that
        self._size = 0
        self._left_out = 0  # log lines
        self._has_warned = False

    @property
    def current(self) -> float:
        """How many units are done."""
        with self.lock:
            return self._counted + sum(loop.done for loop in self._loops)

    @property
    def has_entries(self) -> bool:
        """Whether there is something to be written that nothing later supersedes."""
        return bool(self._entries) or "stage" in self._tick

    # What the job's code calls

    def advance(self, by: float) -> None:
        """Count ``by`` more units."""
        try:
            with self.lock:
                counted = self._counted + by
                # Most counts are within the bounds, and to check all that else may be wrong takes three times as long.
                if not 0 <= counted <= validation.MAX_COUNT:
                    looped = self.current - self._counted  # below 0, a count was set while a loop had counted more
                    counted = validation.number(counted + looped, "count") - looped
                self._counted = counted
        except Exception as error:  # whatever a sum with a foreign object raises
            self.warn_once(error)

    def loop(self, items: Iterable[T], pause: Callable[[], object]) -> Iterator[T]:
        """Yield the items, and count each as done once the next is asked for; that takes some 40 ns.

        Args:
            items: What to yield.
            pause: Called between two items while ``must_pause`` is set.

        """
        loop = Loop()
        with self.lock:
            self._loops.append(loop)
        try:
            for done, item in enumerate(items, 1):
                yield item
                loop.done = done
                if self.must_pause:
                    pause()
        finally:
            with self.lock:
                self._loops.remove(loop)
                self._counted += loop.done

    def say(
        self,
        *,
        current: float | None = None,
        total: float | None = None,
        message: str | None = None,
        stage: str | None = None,
    ) -> None:
        """Take a report."""
        current = None if current is None else self.number(current)
        total = None if total is None else self.number(total)
        with self.lock:
            if stage is not None and not self._is_full:
                self._close_tick()
            if current is not None:
                self._counted = current - sum(loop.done for loop in self._loops)
            if total is not None:
                self.total = total
            if message is not None:
                self._tick["message"] = validation.fitting_text(message, validation.MAX_MESSAGE)
            if stage is not None:
                self._tick["stage"] = validation.fitting_text(stage, validation.MAX_STAGE)
            self._tick["current"] = None  # filled in when it is taken
        if stage is not None:
            self.wake(0)

    def log(self, text: str, level: str) -> None:
        """Take a line for the log."""
        try:
            level = changes.log_level(level)
        except InvalidValue as error:
            self.warn_once(error)
            level = "info"
        line = validation.fitting_text(text, validation.MAX_LOG_LINE)
        with self.lock:
            if self._is_full:
                self._left_out += 1
                return
            if "stage" in self._tick:
                self._close_tick()
            is_first = not self._entries
            self.add("log", {"text": line, "level": level}, len(line))
        if is_first:
            self.wake(GATHER_SECONDS)

    def add(self, name: str, arguments: dict[str, Any], size: int = 0) -> None:
        """Take what nothing later supersedes: a method of the lifecycle, and its arguments."""
        with self.lock:
            self._entries.append((name, arguments))
            self._size += ENTRY_SIZE + size

    # What the writer calls

    def take(self) -> list[Entry]:
        """Take out what is to be written."""
        with self.lock:
            if self._tick or self.current != self._taken:
                self._close_tick()
            if self._left_out:
                words = f"({self._left_out:,} lines are left out here: they came faster than they could be stored)"
                self._left_out = 0
                self.add("log", {"text": words, "level": "warning"}, len(words))
            entries, self._entries, self._size = self._entries, [], 0
            return entries

    def join(self, tick: Entry) -> bool:
        """Join a tick that was taken and not written with what came since; return False if a stage or line came."""
        with self.lock:
            if self._entries:
                return False
            self._tick = {**tick[1], **self._tick}
            return True

    # Within the lock

    @property
    def _is_full(self) -> bool:
        return self._size > MAX_WAITING

    def _close_tick(self) -> None:
        """Let nothing be joined any more with what was counted and said so far."""
        current = self.current
        if not self._tick and current == self._taken:
            return
        if self.total is not None and current > self.total:
            self.total = current  # the total was a guess; being wrong about it is no reason to fail
        tick, self._tick, self._taken = self._tick, {}, current
        self.add("mark_progress", {**tick, "current": current, "total": self.total})

    # What is not as it should be

    def number(self, value: Any) -> Any:
        """Return a number of units; None, and a warning, for what is none."""
        try:
            return validation.number(value, "count")
        except Exception as error:  # whatever a foreign object raises
            self.warn_once(error)
            return None

    def warn_once(self, error: Exception) -> None:
        """Say that something was left out or replaced."""
        if not self._has_warned:
            self._has_warned = True
            logger.warning("A report of job %r holds what can't be stored: %s", self.job_id, validation.in_words(error))


def _nobody(_: float) -> None:
    """Have nobody write it: it is written by whoever reports."""

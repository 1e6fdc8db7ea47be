"""What a job's own code has counted and said, until it is written: cheap to add to, from any thread."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from .. import validation
from ..exceptions import InvalidValue
from .entries import Entry, joined
from .stages import Loop, Part, Stages

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_WAITING = 16 * 1024 * 1024  # characters of stages and log lines that wait; what comes then is left out
GATHER_SECONDS = 0.1  # after the first of some log lines, so that they are written together
MANY = 250  # entries that are written without waiting for more: who else writes to SQLite waits meanwhile
ENTRY_SIZE = 200  # characters that an entry counts for besides its text


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
        self.stages = Stages()
        self.must_pause = True  # whoever counts is to look whether there is something else to do
        self.wake: Callable[[float], object] = _nobody  # has it written within so many seconds
        self.lock = threading.RLock()  # reentrant: a loop that is collected as garbage meanwhile is counted as well
        self._taken: float = 0  # the count, as it was taken last
        self._tick: dict[str, Any] = {}  # what was said since, to be joined with what comes
        self._is_back = False  # in a stage whose label is to be shown again, unless another begins before
        self._entries: list[Entry] = []  # what comes before that
        self._size = 0
        self._left_out = 0  # log lines
        self._lost: dict[str, int] = {}  # characters of each stream of output
        self._has_warned = False

    @property
    def current(self) -> float:
        """How many units are done, of the stage that is under way, or of the job."""
        with self.lock:
            return self.stages.present.current

    @property
    def total(self) -> float | None:
        """How many units there are, if known."""
        return self.stages.present.total

    @total.setter
    def total(self, total: float | None) -> None:
        self.stages.present.total = total

    @property
    def has_entries(self) -> bool:
        """Whether there is something to be written that nothing later supersedes."""
        return bool(self._entries) or "stage" in self._tick

    @property
    def has_news(self) -> bool:
        """Whether something was said, and not only counted, that was not taken out."""
        return bool(self._entries) or bool(self._tick)

    # What the job's code calls

    def advance(self, by: float) -> None:
        """Count ``by`` more units."""
        try:
            with self.lock:
                present = self.stages.present
                counted = present.counted + by
                # Most counts are within the bounds, and to check all that else may be wrong takes three times as long.
                if not 0 <= counted <= validation.MAX_COUNT:
                    looped = present.current - present.counted  # below 0, a count was set while a loop had more
                    counted = validation.number(counted + looped, "count") - looped
                present.counted = counted
        except Exception as error:  # whatever a sum with a foreign object raises
            self.warn_once(error)

    def loop(self, items: Iterable[T], pause: Callable[[], object]) -> Iterator[T]:
        """Yield the items, and count each as done once the next is asked for; that takes some 40 ns.

        They count in the stage in which the loop has begun, whatever stages begin within it.

        Args:
            items: What to yield.
            pause: Called between two items while ``must_pause`` is set.

        """
        loop = Loop()
        with self.lock:
            part = self.stages.present
            part.loops.append(loop)
        try:
            for done, item in enumerate(items, 1):
                yield item
                loop.done = done
                if self.must_pause:
                    pause()
        finally:
            with self.lock:
                part.loops.remove(loop)
                part.counted += loop.done

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
                present = self.stages.present
                present.counted = current - sum(loop.done for loop in present.loops)
            if total is not None:
                self.total = total
            if message is not None:
                self._tick["message"] = validation.fitting_text(message, validation.MAX_MESSAGE)
            if stage is not None:
                self._tick["stage"] = validation.fitting_text(stage, validation.MAX_STAGE)
            self._tick["current"] = None  # filled in when it is taken
        if stage is not None:
            self.wake(0)

    def begin(self, label: str, *, total: float | None, weight: float | None, plan: Any) -> Part:
        """Begin a stage; what was counted in the one before is told first."""
        label = validation.fitting_text(label, validation.MAX_STAGE)
        total = None if total is None else self.number(total)
        weight = None if weight is None else self.checked(validation.weight, weight, "weight of a stage")
        stages: Any = () if plan is None else self.checked(validation.plan, plan) or ()
        with self.lock:
            self.stages.hold()  # or its last tick would lack what others count before it is left
            if self._is_back and self._tick == {"current": None}:
                self._tick = {}
            elif not self._is_full:
                self._close_tick()
            self._is_back = False
            part = self.stages.begin(label, weight=weight, total=total, plan=stages)
            shown = validation.fitting_text(self.stages.label, validation.MAX_STAGE)
            self._tick |= {"stage": shown, "current": None}
        self.wake(0)
        return part

    def leave(self, part: Part, *, is_done: bool) -> None:
        """Leave a stage's block. The label of the one that it is within is shown again with the next tick."""
        with self.lock:
            if not is_done:
                self.stages.abandon(part)
                return
            if part not in self.stages.path:
                return
            self.stages.hold()
            if not self._is_full:
                self._close_tick()
            self.stages.end(part)
            self._tick["current"] = None
            self._is_back = len(self.stages.path) > 1

    def log(self, text: str, level: str) -> None:
        """Take a line for the log."""
        try:
            level = validation.log_level(level)
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
            self.add("log", {"text": line, "level": level}, len(line))
            number = len(self._entries)
        self._wake_for(number)

    def output(self, text: str, name: str) -> None:
        """Take a text for one of the streams of output, of any length."""
        fitting = validation.fitting_text(text, max(len(text), 1))
        for begin in range(0, len(fitting), validation.MAX_OUTPUT):
            part = fitting[begin : begin + validation.MAX_OUTPUT]
            with self.lock:
                if self._is_full:
                    self._lost[name] = self._lost.get(name, 0) + len(part)
                    continue
                if "stage" in self._tick:
                    self._close_tick()
                self.add("output", {"text": part, "name": name}, len(part))
                number = len(self._entries)
            self._wake_for(number)

    def _wake_for(self, number: int) -> None:
        """Have so many entries written soon after the first of them, and at once when there are many."""
        if number in (1, MANY):
            self.wake(GATHER_SECONDS if number == 1 else 0)

    def add(self, name: str, arguments: dict[str, Any], size: int = 0) -> None:
        """Take what nothing later supersedes: a method of the lifecycle, and its arguments."""
        with self.lock:
            self._entries.append((name, arguments))
            self._size += ENTRY_SIZE + size

    def add_last(self, name: str, arguments: dict[str, Any]) -> None:
        """Take what comes behind all that was counted and said so far."""
        with self.lock:
            self._close_tick()
            self.add(name, arguments)

    # What the writer calls

    def take(self) -> list[Entry]:
        """Take out what is to be written."""
        with self.lock:
            self._close_tick()
            if self._left_out:
                words = f"({self._left_out:,} lines are left out here: they came faster than they could be stored)"
                self._left_out = 0
                self.add("log", {"text": words, "level": "warning"}, len(words))
            for name, characters in self._lost.items():
                self.add("output", {"text": f"[{characters:,} characters are left out here]", "name": name})
            self._lost.clear()
            entries, self._entries, self._size = self._entries, [], 0
        return list(joined(entries))

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
        present, current = self.stages.present, self.current
        if not self._tick and current == self._taken:
            return
        if present.total is not None and current > present.total:
            present.total = current  # the total was a guess; being wrong about it is no reason to fail
        tick, self._tick, self._taken = self._tick, {}, current
        if self._is_back:
            self._is_back = False
            tick.setdefault("stage", validation.fitting_text(self.stages.label, validation.MAX_STAGE))
        tick |= {"current": current, "total": present.total}
        if self.stages.are_weighed:
            tick |= {"progress": self.stages.percent, "of_stage": True}
            if not current and present.total is None:
                tick["current"] = None  # it does not count
        self.add("mark_progress", tick)

    # What is not as it should be

    def number(self, value: Any) -> Any:
        """Return a number of units; None, and a warning, for what is none."""
        return self.checked(validation.number, value, "count")

    def checked(self, check: Callable[..., T], *arguments: Any) -> T | None:
        """Return what a check makes of a value; None, and a warning, for what it refuses."""
        try:
            return check(*arguments)
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

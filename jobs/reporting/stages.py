"""How far a job is that is done in stages: weights, counts and what they come to. Whoever calls it has a lock.

A job, or a stage, is as far as its stages are: the sum of weight times fraction, over the sum of the weights of all
that are planned or have begun. One that has ended counts as done, and is kept only in a sum, unless it is planned.
"""

from collections.abc import Callable, Iterable
from math import fsum

from ..states import STAGE_SEPARATOR


class Loop:
    """How many items of a loop are done. Only the loop writes it, without a lock."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = 0


class Tally:
    """What somebody else counts, in whatever stage is under way: beside a loop, what comes and goes with it.

    Args:
        read: Returns how much that is by now.

    """

    __slots__ = ("_before", "_read")

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._before: float = 0  # in earlier stages

    @property
    def done(self) -> float:
        """How much that is in this stage."""
        return self._read() - self._before

    def restart(self) -> float:
        """Begin with 0; return how much it was until now."""
        now, before = self._read(), self._before
        self._before = now
        return now - before


class Part:
    """A stage, or the job itself: what is counted in it, and the stages in it, of which one at most is under way.

    Args:
        label: What people call it.
        weight: Its share of what it is a part of, as a number above 0.
        total: How many units there are, if known.
        plan: The stages in it that are known beforehand, each with its weight.

    """

    __slots__ = ("counted", "done", "ended", "is_entered", "label", "loops", "plan", "total", "weight")

    def __init__(
        self,
        label: str = "",
        *,
        weight: float = 1,
        total: float | None = None,
        plan: Iterable[tuple[str, float]] = (),
    ) -> None:
        self.label = label
        self.weight = weight
        self.total = total
        self.plan = dict(plan)
        self.is_entered = False  # by a `with` block: what begins now is within it
        self.counted: float = 0  # but for the loops
        self.loops: list[Loop | Tally] = []  # those that have begun in it, and what others count
        self.done: set[str] = set()  # of the plan, what has ended
        self.ended: float = 0  # the weights of all else that has ended

    @property
    def current(self) -> float:
        """How many units are done."""
        return self.counted + sum([loop.done for loop in self.loops]) if self.loops else self.counted

    def weight_of(self, label: str, weight: float | None) -> float:
        """Return the weight of a stage that begins in it: as given, else as planned, else 1."""
        if label not in self.plan:
            return 1 if weight is None else weight
        self.done.discard(label)  # it may have ended before
        if weight is not None:
            self.plan[label] = weight
        return self.plan[label]

    def end(self, part: "Part") -> None:
        """Count a stage in it as done."""
        if part.label in self.plan:
            self.done.add(part.label)
        else:
            self.ended += part.weight

    def fraction(self, inner: "Part | None" = None, fraction: float = 0) -> float:
        """Return how much of it is done, from 0 to 1.

        Args:
            inner: The stage in it that is under way.
            fraction: How much of that is done.

        """
        if self.plan or (self.total is None and (inner is not None or self.ended)):
            return self.fraction_of_parts(inner, fraction)
        if self.total is None:
            return 0.0
        return 1.0 if self.current >= self.total else self.current / self.total  # also where there is nothing to do

    def fraction_of_parts(self, inner: "Part | None", fraction: float) -> float:
        """Return how much of its stages is done, from 0 to 1."""
        done, whole = [self.ended, *(self.plan[label] for label in self.done)], [self.ended, *self.plan.values()]
        if inner is not None:
            done.append(inner.weight * fraction)
            if inner.label not in self.plan:
                whole.append(inner.weight)
        sum_of_all = fsum(whole)  # exact, whatever the order: all of it is all of it
        return min(fsum(done) / sum_of_all, 1.0) if sum_of_all else 0.0


class Stages:
    """The stages of one run that are under way, each within the one before, and how far that brings the job.

    Until a weight or a plan is given, they are but labels: the job's own count says how far it is.
    """

    def __init__(self) -> None:
        self.path = [Part()]  # the job, the stage that is under way in it, and so on
        self.present = self.path[0]  # where what is counted counts
        self.are_weighed = False
        self._reached = 0.0  # percent; it never goes back
        self._held: list[Tally] = []

    @property
    def job(self) -> Part:
        """The whole."""
        return self.path[0]

    @property
    def label(self) -> str:
        """What is under way."""
        return STAGE_SEPARATOR.join(part.label for part in self.path[1:])

    @property
    def percent(self) -> float:
        """How far the job is, from 0 to 100, and never less than it was."""
        inner, fraction = None, 0.0
        for part in reversed(self.path[1:]):
            inner, fraction = part, part.fraction(inner, fraction)
        self._reached = max(self._reached, 100 * self.job.fraction_of_parts(inner, fraction))
        return self._reached

    def add(self, tally: Tally) -> None:
        """Count from now on what somebody else counts."""
        self.present.loops.append(tally)

    def remove(self, tally: Tally) -> None:
        """Count no more of that; what was counted stays."""
        self.present.loops.remove(tally)
        self.present.counted += tally.restart()

    def hold(self) -> None:
        """Count no more in the present stage of what others count: it counts in the one that is under way next."""
        for tally in [loop for loop in self.present.loops if isinstance(loop, Tally)]:
            self.remove(tally)
            self._held.append(tally)

    def begin(
        self,
        label: str,
        *,
        weight: float | None = None,
        total: float | None = None,
        plan: Iterable[tuple[str, float]] = (),
    ) -> Part:
        """Begin a stage within the innermost one that a block has entered; end what is under way in that."""
        while len(self.path) > 1 and not self.path[-1].is_entered:
            self._end_last()
        part = Part(label, weight=self.path[-1].weight_of(label, weight), total=total, plan=plan)
        self.path.append(part)
        if not self.are_weighed and (weight is not None or part.plan or self.job.plan):
            self.are_weighed = True
            self._reached = 0.0 if self.job.total is None else 100 * min(self.job.current / (self.job.total or 1), 1)
        if not self.are_weighed and total is not None:
            self.job.total = total
        self._find_present()
        return part

    def end(self, part: Part) -> None:
        """End a stage, and what is under way in it, unless that has ended before."""
        if part in self.path:
            while self.path[-1] is not part:
                self._end_last()
            self._end_last()
            self._find_present()

    def abandon(self, part: Part) -> None:
        """Leave a stage where it is, as an exception does: it ends once another begins."""
        if part in self.path:
            for left in self.path[self.path.index(part) :]:
                left.is_entered = False

    def _end_last(self) -> None:
        part = self.path.pop()
        self.path[-1].end(part)

    def _find_present(self) -> None:
        self.hold()
        self.present = self.path[-1] if self.are_weighed else self.job
        self.present.loops += self._held
        self._held = []

"""Where a run is: which segments it had, how far it is in the present one. A value: each report makes a new one."""

from typing import Any, NamedTuple, Self

from .curves import Point, evenly, packed
from .history import History, Work
from .record import MAX_SEGMENTS, Key, Run, Segment, outermost

MAX_POINTS = 256  # of a curve while it goes on; of more, every second one
MOST_AT_ONCE = 5  # estimates where segments follow each other; that of the start is one
LEAST_SECONDS = 2.0  # what takes less says little of what takes longer
# A run whose first count is no mere beginning, and came so many times sooner than its speed explains, goes on from an
# earlier one.
RESUMED_SHARE, RESUMED_SPEED = 0.05, 10.0

BEGIN: tuple[Point, ...] = ((0.0, 0.0),)

Shown = tuple[Any, Any, Any, Any]


class Present(NamedTuple):
    """The segment that is under way.

    Args:
        stage: The stage in which it began.
        is_counted: Whether it counts.
        began: When, in seconds since the run's start.
        shown: The stage by now: its count may go on over a change of that.
        current: The count.
        total: The total.
        has_grown: Whether that was another before.
        share: How much is done.
        ticked: When that was counted, in seconds since it began.
        step: By how much the share has grown then.
        points: When how much was done.

    """

    stage: str
    is_counted: bool
    began: float
    shown: str
    current: float = 0
    total: float | None = None
    has_grown: bool = False
    share: float = 0.0
    ticked: float = 0.0
    step: float = 0.0
    points: tuple[Point, ...] = BEGIN

    def ended(self, at: float) -> Segment:
        """Return what is kept of it when it ends."""
        seconds = max(0.0, at - self.began)
        if not self.is_counted:
            return Segment(self.stage, False, seconds)
        return Segment(self.stage, True, seconds, self.known_total, packed(self.points, seconds) if seconds else None)

    @property
    def known_total(self) -> float | None:
        """The total, unless that grows."""
        return None if self.has_grown else self.total

    def at(self, seconds: float, stage: str, current: float, total: float) -> Self:
        """Return it after a count; one that did not change is no tick."""
        has_grown = self.has_grown or (self.total is not None and total != self.total)
        share = min(1.0, current / total)
        if share == self.share and stage == self.shown and total == self.total and current == self.current:
            return self
        ticked, step, points = self.ticked, self.step, self.points
        if share != self.share:
            ticked, step = seconds - self.began, max(0.0, share - self.share)
            if share > points[-1][1] and ticked > points[-1][0]:
                points = (*thinned(points), (ticked, share))
        began = self.stage, True, self.began
        return type(self)(*began, stage, current, total, has_grown, share, ticked, step, points)


class Course(NamedTuple):
    """The course of a run of a kind, as the process sees it that began it.

    Args:
        history: The earlier runs of the kind.
        began: When it began, by the monotonic clock.
        attempt: Which run of its job it is.
        size: How much there is to do, if told.
        plan: Its stages, if told.
        last: What the job showed after the last report: if it shows something else, somebody else reports as well.
        present: The segment that is under way.
        unit: What is counted.
        past: The segments before.
        total: The first total.
        first: The first count that was told: when, its share, and how much that was.
        percents: When which percentage was shown; None if that once fell.
        asked_at: When it was estimated last.
        asked_of: How many segments there were then before.
        allowance: How many estimates might follow at once.

    """

    history: History
    began: float
    attempt: int
    size: float | None
    plan: tuple[str, ...]
    last: Shown
    present: Present = Present("", False, 0.0, "")
    unit: str = ""
    past: tuple[Segment, ...] = ()
    total: float | None = None
    first: tuple[float, float, float] | None = None
    percents: tuple[Point, ...] | None = BEGIN
    asked_at: float = 0.0
    asked_of: int = 0
    allowance: float = MOST_AT_ONCE - 1.0

    @property
    def work(self) -> Work:
        """How much there is to do."""
        return Work(self.unit, self.size, self.total, self.plan)

    @property
    def key(self) -> Key:
        """The present segment's."""
        same = sum(one.stage == self.present.stage and one.is_counted == self.present.is_counted for one in self.past)
        return self.present.stage, self.present.is_counted, same + 1

    @property
    def begun(self) -> set[str]:
        """The stages that have begun."""
        return {outermost(self.present.stage), *(outermost(one.stage) for one in self.past)}

    def moved(
        self, at: float, stage: str, current: float | None, total: float | None, *, is_percent: bool = False
    ) -> Self:
        """Return it after a report.

        Args:
            at: When that was, in seconds since the start.
            stage: The stage.
            current: What is counted in it; None if nothing is.
            total: Of how much; None if that is not known, then it does not count.
            is_percent: Whether that is but a percentage, which may well begin above 0.

        """
        at = max(at, self.present.began)  # of two threads' reports, the one made first may come last
        present, is_counted = self.present, current is not None and bool(total)
        goes_on = is_counted and present.total == total and 0 < present.current <= (current or 0)
        past = self.past
        if is_counted != present.is_counted or (stage != present.shown and not goes_on):
            if len(past) < MAX_SEGMENTS:  # with the present one, those are too many to be kept
                past = (*past, present.ended(at))
            present = Present(stage, is_counted, at, stage)
        if not is_counted or current is None or not total:
            return self if present is self.present else self._replace(present=present, past=past)
        present = present.at(at, stage, current, total)
        if self.first is None or (self.attempt > 1 and not self.first[1]):
            first = at, present.share, 0.0 if is_percent and self.attempt == 1 else float(current)
            return self._replace(present=present, past=past, total=self.total or total, first=first)
        return self._replace(present=present, past=past)

    def at_percent(self, at: float, percent: float | None) -> Self:
        """Return it after a percentage was shown."""
        points = self.percents
        if points is None or percent is None or percent == points[-1][1]:
            return self
        if percent < points[-1][1]:
            return self._replace(percents=None)
        return self._replace(percents=(*thinned(points), (at, percent)) if at > points[-1][0] else points)

    def run(self, seconds: float) -> Run | None:
        """Return what is kept of it now that it has succeeded, after so many seconds; None if it says nothing."""
        segments = (*self.past, self.present.ended(seconds))
        if seconds < LEAST_SECONDS or len(segments) > MAX_SEGMENTS or self._was_resumed(segments):
            return None
        percents = None
        if self.percents is not None:
            percents = bytes(min(100, int(percent)) for percent in evenly(self.percents, seconds))
        return Run(seconds, segments, self.unit, self.size, self.plan, percents)

    def _was_resumed(self, segments: tuple[Segment, ...]) -> bool:
        if self.first is None:
            return False
        at, share, current = self.first
        place = next(place for place, segment in enumerate(segments) if segment.is_counted)
        seconds = sum(segment.seconds for segment in segments[: place + 1])
        return share >= RESUMED_SHARE and current > 1 and at * RESUMED_SPEED < share * seconds


def thinned(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """Return points, or half of them where they are too many."""
    return points if len(points) < MAX_POINTS else points[::2]

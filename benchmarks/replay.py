"""Runs that report to the shipped code, without a database and in no time; and the rate that was before, beside it."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from benchmarks.kinds import Run, Tick
from jobs import changes
from jobs.models import ProcessingJob
from jobs.progress_report import Report, percentage
from jobs.rate import MIN_SECONDS, Rate, RateEstimator
from jobs.states import Status
from jobs.time_left import learned, store
from jobs.time_left.course import Course
from jobs.time_left.history import History
from jobs.time_left.record import Run as Kept
from jobs.time_left.record import run_of
from jobs.writes import Write

MOMENTS = 100  # at which a run is asked how long it will take
MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


class FormerRate(NamedTuple):
    """The rate as it was: its average over 5 s. All stages, which it knows beforehand, weigh the same."""

    percent: float = 0.0
    seconds: float = 0.0
    covered: float = 0.0
    weighted: float = 0.0
    weight: float = 0.0

    def update(self, percent: float | None, seconds: float) -> "FormerRate":
        """Return it after a percentage was reached."""
        if percent is None:
            return self
        elapsed = seconds - self.seconds
        if percent < self.percent or elapsed <= 0:
            return self if percent >= self.percent else FormerRate(percent, seconds)
        weight = 1 - math.exp(-elapsed / 5.0)
        speed = (percent - self.percent) / elapsed
        weighted = self.weighted + weight * (speed - self.weighted)
        return FormerRate(percent, seconds, self.covered + elapsed, weighted, self.weight + weight * (1 - self.weight))

    def left(self) -> float | None:
        """Return the seconds left, if it knows."""
        if self.covered < MIN_SECONDS or not self.weighted:
            return None
        return (100 - self.percent) * self.weight / self.weighted


class Said(NamedTuple):
    """What is said at a moment, and what is true."""

    left: float | None
    low: float | None
    high: float | None
    former: float | None
    true: float


@dataclass
class Replay:
    """A run that reports to the shipped code.

    Args:
        run: The run.
        kept: What is kept of earlier ones, the oldest first.

    """

    run: Run
    kept: Sequence[Kept] = ()
    cost: list[float] = field(default_factory=list)  # processor seconds that it took to decide on each report
    size: int = 0  # bytes of what is kept of it

    def __post_init__(self) -> None:
        self.job = ProcessingJob(pk="bench", status=Status.QUEUED, kind="bench", metadata={"attempt": 1}, seq=2)
        history = History("bench", tuple(reversed(self.kept[-20:])))
        about = changes.about("bench", self.run.plan or None, self.run.size)
        self._write(changes.started(self.job, "", None, about, learned.Start("bench", history)), 0.0)
        self.course: Course | None = learned.begun(history, self.job, 0.0)
        self.rate: Rate | None = RateEstimator(0, 0.0)
        self.former = FormerRate()
        self.told_at = 0.0

    def asked(self) -> Iterator[Said]:
        """Report all, and yield what is said at even moments in between."""
        left = list(reversed(self.run.ticks))
        for moment in range(MOMENTS):
            now = self.run.seconds * (moment + 0.5) / MOMENTS
            while left and left[-1].seconds <= now:
                self.report(left.pop())
            yield Said(*self.shown(now), self.former.left(), self.run.seconds - now)
        while left:
            self.report(left.pop())

    def report(self, tick: Tick) -> None:
        """Report a tick as a worker would whose stages all weigh the same."""
        percent = self.percent(tick)
        self.former = self.former.update(percent, tick.seconds)
        of_stage = not (self.run.is_whole or len(self.run.stages) == 1)
        progress = max(percent or 0.0, self.job.progress or 0.0) if of_stage else None
        report = Report(
            *(progress, tick.current, tick.total, None, tick.stage, {}),
            seconds=tick.seconds,
            of_stage=of_stage,
            rate=self.rate,
            at=None,
            course=self.course,
        )
        began = time.process_time()
        change = changes.progressed(self.job, report)
        self.cost.append(time.process_time() - began)
        self._write(change, tick.seconds)
        self.rate, self.course = change.rate or self.rate, change.course or self.course

    def percent(self, tick: Tick) -> float | None:
        """Return the percentage of the whole run; None if it is not known."""
        stages = self.run.stages
        if self.run.is_whole or len(stages) == 1:
            return None if tick.current is None or not tick.total else 100 * tick.current / tick.total
        if tick.stage not in stages:
            return None
        share = 0.0 if tick.current is None or not tick.total else tick.current / tick.total
        return percentage(stages.index(tick.stage) + share, len(stages))

    def ended(self) -> Kept | None:
        """Complete the run; return what is kept of it, as it is read again."""
        run = changes.completed(self.job, "", None, None, learned.End(self.run.seconds, self.course)).run
        text = None if run is None else run.text()
        if run is None or text is None:
            return None
        self.size = len(text.encode()) + store.ROW_BYTES
        return run_of(run.seconds, run.unit, run.size, text)

    def shown(self, now: float) -> tuple[float | None, float | None, float | None]:
        """Return what a client shows by now, by the last event: the middle, and the range if there is one."""
        about, age = self.job.metadata, now - self.told_at
        middle, learned = about.get("eta_seconds"), about.get("time_left")
        if learned is None:
            return middle, None, None
        low, high, since = learned.get("low"), learned.get("high"), 0.0
        for seconds, *then in learned.get("later", ()):
            if seconds <= age:
                since, (middle, low, high) = seconds, then
        if middle is None:
            return None, None, None
        passed = min(age - since, max(0.0, middle - learned["floor"]))
        return middle - passed, None if low is None else max(0.0, low - passed), None if high is None else high - passed

    def _write(self, change: changes.Change, seconds: float) -> None:
        self.job = Write.of(self.job, change, MIDNIGHT + timedelta(seconds=seconds)).after
        self.told_at = seconds


def kept_of(runs: Sequence[Run]) -> list[Kept]:
    """Return what is kept of some runs, each without the others."""
    kept = []
    for run in runs:
        replay = Replay(run)
        for tick in run.ticks:
            replay.report(tick)
        kept.append(replay.ended())
    return [each for each in kept if each is not None]

"""A progress report, and what it says of counts, speed and time left."""

import math
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from django.utils import timezone

from . import validation
from .exceptions import InvalidValue
from .models import ProcessingJob
from .number_settings import number_setting
from .rate import Rate, RateEstimator, StageRates, eta_seconds
from .time_left.course import Course

REPORT_SECONDS = 0.25  # unless ``JOBS_REPORT_SECONDS`` says otherwise: between two ticks of a job that counts

report_seconds = number_setting("JOBS_REPORT_SECONDS", REPORT_SECONDS, 0.01, 60.0, "jobs.E008")


@dataclass(slots=True)  # not frozen: that would take half a microsecond more for each
class Report:
    """The arguments of a progress report, checked, and the moment at which it was made.

    It is decided on by these alone, however often and however late that is. The same report, made again, is equal.
    """

    progress: float | None
    current: float | None
    total: float | None
    message: str | None
    stage: str | None
    metadata: dict[str, Any]
    seconds: float = field(compare=False)  # when it was made, by the monotonic clock
    of_stage: bool  # the counts are those of a stage, and the percentage is the job's
    rate: Rate | None = field(compare=False)  # up to then; None before the first report of a process
    at: datetime | None = field(compare=False)  # the same moment by the clock of the first report; None of a later one
    course: Course | None = field(default=None, compare=False)  # up to then; None where nothing is learned

    @classmethod
    def checked(
        cls,
        progress: float | None,
        current: float | None,
        total: float | None,
        message: str | None,
        stage: str | None,
        metadata: dict[str, Any] | None,
        rate: Rate | None,
        of_stage: bool = False,
    ) -> Self:
        """Return the report, made now.

        Raises:
            InvalidValue: An argument is out of its bounds.

        """
        added = {} if metadata is None else validation.metadata(metadata)
        stage = added.pop("stage", None) if stage is None else validation.text(stage, "stage", validation.MAX_STAGE)
        return cls(
            progress=None if progress is None else float(validation.number(progress, "progress", 100)),
            current=None if current is None else validation.number(current, "current count"),
            total=None if total is None else validation.number(total, "total"),
            message=None if message is None else validation.text(message, "message", validation.MAX_MESSAGE),
            stage=stage,
            metadata=added,
            of_stage=of_stage,
            seconds=time.monotonic(),
            rate=rate,
            at=timezone.now() if rate is None else None,
        )


def measured(job: ProcessingJob, report: Report) -> tuple[dict[str, Any], float | None, Rate | None]:
    """Return what a report says of counts, speed and time left, the percentage, and the rate if it counts."""
    if report.of_stage:
        return _measured_of_stage(job, report)
    total = job.metadata.get("total") if report.total is None else report.total
    current: Any = job.metadata.get("current") if report.current is None else report.current
    shown: dict[str, Any] = {} if report.total is None else {"total": total}
    if current is not None:
        current = _within(current, total)
    progress, rate = job.progress, None
    if report.progress is not None:
        progress = report.progress
    elif report.current is not None or (report.total is not None and current is not None):
        progress = percentage(current, total)
    if report.current is not None:
        rate = _rate_with(job, report, report.current, report.rate)
        speed = rate.per_second
        shown |= {"current": current, "rate": None if speed is None else round(speed, 3)}
        if total is not None:
            shown["eta_seconds"] = eta_seconds(total - current, speed)
    elif report.progress is not None:
        rate = _rate_with(job, report, report.progress, report.rate)
        shown["eta_seconds"] = eta_seconds(100 - report.progress, rate.per_second)
    return shown, progress, rate


def _measured_of_stage(job: ProcessingJob, report: Report) -> tuple[dict[str, Any], float | None, Rate | None]:
    """Return the same where the counts are a stage's, and known only if given; the time left is the job's."""
    current = None if report.current is None else _within(report.current, report.total)
    shown: dict[str, Any] = {"current": current, "total": report.total, "rate": None, "eta_seconds": None}
    known = report.rate if isinstance(report.rate, StageRates) else StageRates(_of_nothing(report.rate), None)
    percent, units, progress = known.percent, known.units, job.progress
    if report.progress is not None:
        progress = percentage(report.progress, 100)
        percent = _rate_with(job, report, report.progress, percent)
        shown["eta_seconds"] = eta_seconds(100 - report.progress, percent.per_second)
    if current is None or report.stage not in (None, job.metadata.get("stage")):
        units = None  # of the stage before
    if current is not None:
        anew = RateEstimator(current, report.seconds)
        units = anew if units is None else units.update(current, report.seconds)
        shown["rate"] = None if (speed := units.per_second) is None else round(speed, 3)
    return shown, progress, StageRates(percent, units)


def _of_nothing(rate: Rate | None) -> RateEstimator | None:
    """Return a rate up to now if nothing has been counted: then it is that of whatever is counted from here on."""
    return rate if isinstance(rate, RateEstimator) and not rate.last_count else None


def _within(current: float, total: float | None) -> float:
    """Return a count that is at most the total.

    Raises:
        InvalidValue: It is above it by more than rounding does.

    """
    if total is None:
        return current
    if current > total * (1 + validation.ROUNDING):
        raise InvalidValue(f"The current count {current:g} is above the total {total:g}.")
    return min(current, total)


def _rate_with(job: ProcessingJob, report: Report, count: float, rate: Rate | None) -> RateEstimator:
    """Return the rate up to a report and with it; the first one of a process gives the mean since the job's start."""
    if not isinstance(rate, RateEstimator):
        if job.started_at is None or report.at is None:
            return RateEstimator(count, report.seconds)
        rate = RateEstimator(0, report.seconds - max(0.0, (report.at - job.started_at).total_seconds()))
    return rate.update(count, report.seconds)


def percentage(current: float, total: float | None) -> float | None:
    """Return how much of a total is done, rounded down: 100 is for all of it; None if that is not known."""
    if total is None:
        return None
    if current >= total:
        return 100.0
    return min(math.floor(10_000 * current / total + validation.ROUNDING), 9_999) / 100

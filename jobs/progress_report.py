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
from .rate import RateEstimator, eta_seconds

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
    rate: RateEstimator | None = field(compare=False)  # up to then; None before the first report of a process
    at: datetime | None = field(compare=False)  # the same moment by the clock of the first report; None of a later one

    @classmethod
    def checked(
        cls,
        progress: float | None,
        current: float | None,
        total: float | None,
        message: str | None,
        stage: str | None,
        metadata: dict[str, Any] | None,
        rate: RateEstimator | None,
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
            seconds=time.monotonic(),
            rate=rate,
            at=timezone.now() if rate is None else None,
        )


def measured(job: ProcessingJob, report: Report) -> tuple[dict[str, Any], float | None, RateEstimator | None]:
    """Return what a report says of counts, speed and time left, the percentage, and the rate if it counts."""
    total = job.metadata.get("total") if report.total is None else report.total
    current = job.metadata.get("current") if report.current is None else report.current
    shown: dict[str, Any] = {} if report.total is None else {"total": total}
    if total is not None and current is not None:
        if current > total * (1 + validation.ROUNDING):
            raise InvalidValue(f"The current count {current:g} is above the total {total:g}.")
        current = min(current, total)
    progress, rate = job.progress, None
    if report.progress is not None:
        progress = report.progress
    elif report.current is not None or (report.total is not None and current is not None):
        progress = _percent(current, total)
    if report.current is not None:
        rate = _rate_with(job, report, report.current)
        speed = rate.per_second
        shown |= {"current": current, "rate": None if speed is None else round(speed, 3)}
        if total is not None:
            shown["eta_seconds"] = eta_seconds(total - current, speed)
    elif report.progress is not None:
        rate = _rate_with(job, report, report.progress)
        shown["eta_seconds"] = eta_seconds(100 - report.progress, rate.per_second)
    return shown, progress, rate


def _rate_with(job: ProcessingJob, report: Report, count: float) -> RateEstimator:
    """Return the rate up to a report and with it; the first one of a process gives the mean since the job's start."""
    rate = report.rate
    if rate is None:
        if job.started_at is None or report.at is None:
            return RateEstimator(count, report.seconds)
        rate = RateEstimator(0, report.seconds - max(0.0, (report.at - job.started_at).total_seconds()))
    return rate.update(count, report.seconds)


def _percent(current: float, total: float | None) -> float | None:
    """Return how much of a total is done, rounded down: 100 is for all of it; None if that is not known."""
    if total is None:
        return None
    if current >= total:
        return 100.0
    return min(math.floor(10_000 * current / total + validation.ROUNDING), 9_999) / 100

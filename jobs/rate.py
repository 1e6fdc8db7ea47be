"""How fast a job goes, and how long it will take."""

import math
from typing import NamedTuple, Self

SMOOTHING_SECONDS = 30.0  # a change of speed shows to two thirds after this long
MAX_ETA_SECONDS = 8_640_000.0  # 100 days: a job that takes longer stands still, as far as anybody can see
MIN_SECONDS = 0.5  # what has been seen for less says little: the first report may come after a millisecond


class RateEstimator(NamedTuple):
    """A smoothed rate of a growing count. It is a value: each sample makes a new one.

    An exponential moving average of the speed, in which each sample weighs by the time that it
    covers: ``1 - exp(-elapsed / SMOOTHING_SECONDS)`` (the usual form for samples at uneven intervals;
    Eckner, «Algorithms for Unevenly Spaced Time Series», 2019). The average is divided by the sum of
    the weights so far, so that it is unbiased from the first sample on (as in Kingma and Ba, «Adam»,
    2015, section 3).

    Args:
        last_count: What was counted at the last sample, or at the start.
        last_seconds: When that was.

    """

    last_count: float
    last_seconds: float
    covered: float = 0.0  # seconds, by all samples
    weighted: float = 0.0
    weight: float = 0.0

    def update(self, count: float, seconds: float) -> Self:
        """Return the estimator after ``count`` was reached at the time ``seconds``; a smaller count begins anew."""
        if count < self.last_count:
            return type(self)(count, seconds)
        elapsed = seconds - self.last_seconds
        if elapsed <= 0:
            return self
        weight = 1 - math.exp(-elapsed / SMOOTHING_SECONDS)
        return type(self)(
            count,
            seconds,
            self.covered + elapsed,
            self.weighted + weight * ((count - self.last_count) / elapsed - self.weighted),
            self.weight + weight * (1 - self.weight),
        )

    @property
    def per_second(self) -> float | None:
        """The rate, if it is known yet."""
        return self.weighted / self.weight if self.covered >= MIN_SECONDS else None


class StageRates(NamedTuple):
    """How fast a job goes whose count is that of a stage: the percentage, and the units; each if it is known."""

    percent: RateEstimator | None
    units: RateEstimator | None


Rate = RateEstimator | StageRates


def eta_seconds(remaining: float, rate: float | None) -> float | None:
    """Return how many seconds ``remaining`` takes at ``rate`` per second; None if that is unknown."""
    if not rate or remaining > MAX_ETA_SECONDS * rate:
        return None
    return round(remaining / rate, 1)

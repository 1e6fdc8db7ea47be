"""How fast a job goes, and how long it will take."""

import math

SMOOTHING_SECONDS = 5.0  # a change of speed shows to two thirds after this long


class RateEstimator:
    """A smoothed rate of a growing count.

    An exponential moving average whose weight depends on the time that each sample covers:
    ``weight = 1 - exp(-elapsed / SMOOTHING_SECONDS)``, so that reports at uneven intervals count
    for as long as they lasted (the usual form for irregular samples; Eckner, «Algorithms for
    Unevenly Spaced Time Series», 2019). The first sample counts from the start of the attempt.
    """

    def __init__(self) -> None:
        self._count = 0.0
        self._seconds: float | None = None
        self._rate: float | None = None

    def reset(self, count: float, seconds: float) -> None:
        """Begin anew at ``count``, at the time ``seconds``."""
        self._count, self._seconds, self._rate = count, seconds, None

    def update(self, count: float, seconds: float) -> float | None:
        """Return the rate per second after ``count`` was reached at the time ``seconds``, if known."""
        if self._seconds is None or count < self._count:
            self.reset(count, seconds)
            return None
        elapsed = seconds - self._seconds
        if elapsed <= 0:
            return self._rate
        sample = (count - self._count) / elapsed
        if self._rate is None:
            self._rate = sample
        else:
            self._rate += (sample - self._rate) * (1 - math.exp(-elapsed / SMOOTHING_SECONDS))
        self._count, self._seconds = count, seconds
        return self._rate


def eta_seconds(remaining: float, rate: float | None) -> float | None:
    """Return how many seconds ``remaining`` takes at ``rate`` per second, where that can be said."""
    return round(remaining / rate, 1) if rate else None

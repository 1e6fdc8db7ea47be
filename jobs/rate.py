"""How fast a job goes, and how long it will take."""

import math

SMOOTHING_SECONDS = 5.0  # a change of speed shows to two thirds after this long
MAX_ETA_SECONDS = 8_640_000.0  # 100 days: a job that takes longer stands still, as far as anybody can tell
MIN_SECONDS = 0.5  # what has been seen for less says little: the first report may come after a millisecond


class RateEstimator:
    """A smoothed rate of a growing count.

    An exponential moving average of the speed, in which each sample weighs by the time that it
    covers: ``1 - exp(-elapsed / SMOOTHING_SECONDS)`` (the usual form for samples at uneven intervals;
    Eckner, «Algorithms for Unevenly Spaced Time Series», 2019). The average is divided by the sum of
    the weights so far, so that it is unbiased from the first sample on (as in Kingma and Ba, «Adam»,
    2015, section 3).
    """

    def __init__(self) -> None:
        self._seconds: float | None = None  # when the last sample was
        self._count: float
        self._covered: float  # seconds, by all samples
        self._weighted: float
        self._weight: float

    @property
    def has_begun(self) -> bool:
        """Whether there is a time from which to count."""
        return self._seconds is not None

    def reset(self, count: float, seconds: float) -> None:
        """Begin anew at ``count``, at the time ``seconds``."""
        self._count, self._seconds = count, seconds
        self._covered = self._weighted = self._weight = 0.0

    def update(self, count: float, seconds: float) -> float | None:
        """Return the rate per second after ``count`` was reached at the time ``seconds``, if known."""
        if self._seconds is None or count < self._count:
            self.reset(count, seconds)
            return None
        elapsed = seconds - self._seconds
        if elapsed > 0:
            weight = 1 - math.exp(-elapsed / SMOOTHING_SECONDS)
            self._weighted += weight * ((count - self._count) / elapsed - self._weighted)
            self._weight += weight * (1 - self._weight)
            self._covered += elapsed
            self._count, self._seconds = count, seconds
        return self._weighted / self._weight if self._covered >= MIN_SECONDS else None


def eta_seconds(remaining: float, rate: float | None) -> float | None:
    """Return how many seconds ``remaining`` takes at ``rate`` per second; None where nobody can tell."""
    if not rate or remaining > MAX_ETA_SECONDS * rate:
        return None
    return round(remaining / rate, 1)

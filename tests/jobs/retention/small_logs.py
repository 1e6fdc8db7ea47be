"""Small logs to trim: what takes thousands of events elsewhere takes dozens here."""

from typing import Any

import pytest

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.retention import compaction, curve, trimming

TAIL = 40
EVERY = 10
CANDIDATES = 12
POINTS = 8


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.JOBS_LOG_TAIL = TAIL
    settings.JOBS_COMPACT_SECONDS = 0
    monkeypatch.setattr(trimming, "TRIM_EVERY", EVERY)
    monkeypatch.setattr(trimming, "MOST_AT_ONCE", 4 * EVERY)
    monkeypatch.setattr(curve, "MAX_CANDIDATES", CANDIDATES)
    monkeypatch.setattr(curve, "MAX_POINTS", POINTS)
    monkeypatch.setattr(compaction, "MAX_POINTS", POINTS)
    monkeypatch.setattr("jobs.changes.MAX_POINTS", POINTS)
    monkeypatch.setattr(compaction, "BATCH", 7)
    monkeypatch.setattr(compaction, "PAUSE_SECONDS", 0)


def report(lifecycle: ProcessingJobLifecycle, ticks: int, *, begin: int = 0, total: int = 1_000) -> None:
    """Report so many steps."""
    for current in range(begin + 1, begin + ticks + 1):
        lifecycle.mark_progress(current=current, total=total)

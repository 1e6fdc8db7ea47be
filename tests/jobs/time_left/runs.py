"""Runs of jobs of a kind, as fast as the tests can make them: the clock is theirs."""

from typing import Any
from unittest import mock

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import KindRun

KIND = "thumbnails"


def begin(kind: str = KIND, **about: Any) -> ProcessingJobLifecycle:
    """Return a job of a kind that has begun."""
    lifecycle = ProcessingJobLifecycle.create()
    lifecycle.mark_started(kind=kind, **about)
    return lifecycle


def count(lifecycle: ProcessingJobLifecycle, clock: mock.Mock, seconds: float, steps: int = 10, upto: int = 10) -> None:
    """Count up to some of ten, each after a tenth of the time."""
    lifecycle.mark_progress(current=0, total=steps)
    for step in range(1, upto + 1):
        clock.return_value += seconds / steps
        lifecycle.mark_progress(current=step)


def run(clock: mock.Mock, seconds: float = 100.0, **about: Any) -> ProcessingJobLifecycle:
    """Run a job that counts to ten, to its good end."""
    lifecycle = begin(**about)
    count(lifecycle, clock, seconds)
    lifecycle.mark_completed()
    return lifecycle


def kept(kind: str = KIND) -> list[KindRun]:
    """Return what is kept of a kind, the oldest first."""
    return list(KindRun.objects.filter(kind=kind).order_by("pk"))

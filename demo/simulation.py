"""A job that does nothing but report: for demonstrations, tests and benchmarks."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from jobs.lifecycle import ProcessingJobLifecycle

KILLED = 137  # the exit status that a shell shows for a process ended by SIGKILL


@dataclass(frozen=True, slots=True)
class Plan:
    """What a simulated job does.

    Attributes:
        steps: How many progress events it reports, at least 1.
        stages: Into how many stages they are divided, at least 1.
        interval: Seconds from one report to the next; 0 for as fast as they can be written.
        fail_at: The percentage at which it fails, if it does.
        die_at: The percentage at which its process exits at once, like a killed worker, if it does.

    """

    steps: int = 100
    stages: int = 4
    interval: float = 0.1
    fail_at: float | None = None
    die_at: float | None = None

    def stage(self, step: int) -> str:
        """Return the stage that a step, from 1, is in."""
        return f"stage_{(step - 1) * self.stages // self.steps + 1}"


def run(
    lifecycle: ProcessingJobLifecycle,
    plan: Plan,
    stop: threading.Event | None = None,
    die: Callable[[int], object] = os._exit,
) -> None:
    """Run a queued job as planned, until it is cancelled or ``stop`` is set.

    Raises:
        jobs.exceptions.JobError: Somebody else ended or retried the job.

    """
    stop = stop or threading.Event()
    lifecycle.mark_started("Starting")
    started = time.monotonic()
    for step in range(1, plan.steps + 1):
        # Sleep until a point in time, so that the duration of the writes does not change the rate.
        stop.wait(max(0.0, started + step * plan.interval - time.monotonic()))
        if lifecycle.cancel_requested or stop.is_set():
            lifecycle.mark_cancelled("Stopped" if stop.is_set() else "Cancelled on request")
            return
        _report(lifecycle, plan, step)
        percent = 100 * step / plan.steps
        if plan.die_at is not None and percent >= plan.die_at:
            die(KILLED)
        if plan.fail_at is not None and percent >= plan.fail_at:
            lifecycle.mark_failed(error=f"Simulated failure at {percent:g} %")
            return
    lifecycle.mark_completed("Done", result={"steps": plan.steps})


def _report(lifecycle: ProcessingJobLifecycle, plan: Plan, step: int) -> None:
    stage = plan.stage(step)
    words = f"Processing {stage.replace('_', ' ')}"
    lifecycle.mark_progress(current=step, total=plan.steps, stage=stage, message=words)

"""Runs jobs that only report, to have something to watch."""

import signal
import sys
import threading
from argparse import ArgumentParser
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.db import connections

from jobs.exceptions import JobError
from jobs.lifecycle import ProcessingJobLifecycle
from progress.management.printing import PrintingCommand

from ...simulation import Plan, run

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = 100
DURATION = 10.0  # seconds
MAX_JOBS = 100  # each is a thread with a database connection


class Command(PrintingCommand):
    """Run simulated jobs in threads of this process until all have ended; Ctrl-C cancels them."""

    help = (
        "Runs public jobs that do nothing but report, and prints their ids. Two of --steps, --duration and --rate "
        "give the third; --rate 0 means full speed. A job that fails on purpose is not an error of this command."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--jobs", type=int, default=1, help="how many jobs run at once (default: 1)")
        parser.add_argument("--steps", type=int, help=f"progress events of each job (default: {STEPS})")
        parser.add_argument("--stages", type=int, default=4, help="stages of each job (default: 4)")
        parser.add_argument("--duration", type=float, help=f"seconds that each job takes (default: {DURATION:g})")
        parser.add_argument("--rate", type=float, help="events a second of each job; 0: full speed")
        parser.add_argument("--fail-at", type=float, metavar="PERCENT", help="fail at this percentage")
        parser.add_argument(
            "--die-at",
            type=float,
            metavar="PERCENT",
            help="exit at once, like a killed worker, when a job reaches this percentage",
        )
        parser.add_argument("--job-id", help="the id of the job; of several, ID-1, ID-2, …")
        parser.add_argument("--name", default="Simulated job", help="what people call it")

    def handle(self, **options: Any) -> None:
        """Create the jobs, print their ids, and run them."""
        plan = make_plan(options)
        names = job_ids(options["job_id"], options["jobs"])
        with set_by_interrupt() as stop:
            try:
                lifecycles = [
                    ProcessingJobLifecycle.create(name, name=options["name"], public=True, kind="simulate_job")
                    for name in names
                ]
            except JobError as error:
                raise CommandError(str(error)) from error
            self.run_all(lifecycles, plan, stop)
        if stop.is_set():
            sys.exit(130)

    def run_all(self, lifecycles: list[ProcessingJobLifecycle], plan: Plan, stop: threading.Event) -> None:
        """Run the jobs side by side until all have ended."""
        threads = [threading.Thread(target=self.run_one, args=(each, plan, stop)) for each in lifecycles]
        for lifecycle in lifecycles:
            lifecycle.mark_queued()
            self.say(lifecycle.job_id)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def run_one(self, lifecycle: ProcessingJobLifecycle, plan: Plan, stop: threading.Event) -> None:
        """Run one job in its thread."""
        try:
            run(lifecycle, plan, stop)
        except JobError as error:
            self.stderr.write(str(error))
        finally:
            connections.close_all()


@contextmanager
def set_by_interrupt() -> "Iterator[threading.Event]":
    """Give an event that Ctrl-C sets; each thread then cancels its own job, between two writes."""
    stop = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def job_ids(given: str | None, count: int) -> list[str | None]:
    """Return the ids for the jobs; None for one to be generated."""
    if given is None or count == 1:
        return [given] * count
    return [f"{given}-{number}" for number in range(1, count + 1)]


def make_plan(options: dict[str, Any]) -> Plan:
    """Return the plan that the options describe.

    Raises:
        CommandError: They contradict each other or are out of bounds.

    """
    if not 1 <= options["jobs"] <= MAX_JOBS:
        raise CommandError(f"--jobs must be from 1 to {MAX_JOBS}, not {options['jobs']}.")
    for name in ("fail_at", "die_at"):
        if options[name] is not None and not 0 <= options[name] <= 100:
            raise CommandError(f"--{name.replace('_', '-')} is a percentage, from 0 to 100, not {options[name]:g}.")
    steps, interval = pace(options["steps"], options["duration"], options["rate"])
    if not 1 <= options["stages"] <= steps:
        raise CommandError(f"--stages must be from 1 to the number of steps ({steps}), not {options['stages']}.")
    return Plan(steps, options["stages"], interval, options["fail_at"], options["die_at"])


def pace(steps: int | None, duration: float | None, rate: float | None) -> tuple[int, float]:
    """Return how many steps, and seconds from one to the next.

    Raises:
        CommandError: The three contradict each other or are out of bounds.

    """
    if steps is not None and steps < 1:
        raise CommandError(f"--steps must be 1 or more, not {steps}.")
    for name, value in (("duration", duration), ("rate", rate)):
        if value is not None and not 0 <= value < float("inf"):
            raise CommandError(f"--{name} must be 0 or more, not {value:g}.")
    if rate is not None and duration is not None and (steps is not None or rate == 0):
        raise CommandError("Give two of --steps, --duration and --rate; at full speed (--rate 0), --steps alone.")
    if rate == 0:
        return steps or STEPS, 0.0
    if rate is not None:
        return steps or max(1, round(rate * (DURATION if duration is None else duration))), 1 / rate
    steps = steps or STEPS
    return steps, (DURATION if duration is None else duration) / steps

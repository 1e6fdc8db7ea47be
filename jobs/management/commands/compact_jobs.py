"""``manage.py compact_jobs``: compacts the logs of ended jobs now."""

import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from ...database import UNAVAILABLE
from ...models import ProcessingJob
from ...retention.compaction import compact
from ...states import TERMINAL

INTERRUPTED = 130  # the exit code


class Command(BaseCommand):
    """Compact what is named, or all that has ended."""

    help = (
        "Leaves of the logs of ended jobs what is worth keeping: changes of status and stage, log lines, edits, and of "
        "the ticks a curve for each attempt. Without ids: of all jobs that have ended and were not compacted yet, "
        "however short ago. It may be stopped at any time; the next run goes on."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("job_id", nargs="*", help="a job that has ended")

    def handle(self, **options: Any) -> None:
        """Compact, job after job."""
        job_ids = options["job_id"] or list(_waiting())
        if unknown := set(options["job_id"]) - set(_ended(options["job_id"])):
            raise CommandError(f"No job that has ended: {', '.join(sorted(unknown))}.")
        began, done, failed = time.monotonic(), 0, 0
        columns = *Progress.get_default_columns(), MofNCompleteColumn()
        console = Console(stderr=True)
        with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
            try:
                for job_id in bar.track(job_ids, description="Compacting"):
                    try:
                        done += compact(job_id)
                    except UNAVAILABLE:
                        raise
                    except Exception as error:  # whatever is wrong with a row, it harms its own job only
                        self.stderr.write(f"The log of job {job_id} can't be compacted: {error!r}")
                        failed += 1
            except KeyboardInterrupt:
                self.stderr.write(f"Stopped after {_logs(done)}; the next run goes on.")
                sys.exit(INTERRUPTED)
        self.stdout.write(f"Compacted {_logs(done)} in {time.monotonic() - began:,.1f} s.")
        if failed:
            raise CommandError(f"{failed} of {len(job_ids)} could not be compacted.")


def _waiting() -> Any:
    jobs = ProcessingJob.objects.filter(compact_after__isnull=False).order_by("compact_after")
    return jobs.values_list("pk", flat=True)


def _ended(job_ids: list[str]) -> Any:
    return ProcessingJob.objects.filter(pk__in=job_ids, status__in=TERMINAL).values_list("pk", flat=True)


def _logs(number: int) -> str:
    return f"the {'log' if number == 1 else 'logs'} of {number:,} {'job' if number == 1 else 'jobs'}"

"""``manage.py delete_job``: deletes jobs by their ids."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError
from rich.console import Console
from rich.progress import Progress

from ...actors import Actor
from ...database import connection_to_write
from ...exceptions import JobError
from ...lifecycle import ProcessingJobLifecycle
from ...retention.deletion import delete_left, left
from ...retention.pace import paced


class Command(BaseCommand):
    """Delete jobs, running or not."""

    help = (
        "Deletes jobs with their logs, however large, whatever their status. Watchers are told at once; a worker that "
        "still runs is told at its next report."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("job_id", nargs="+")

    def handle(self, *, job_id: list[str], **_: Any) -> None:
        """Delete each; exit with 1 if one could not be deleted."""
        failed = 0
        for each in job_id:
            try:
                ProcessingJobLifecycle(each).delete(by=Actor.command("delete_job"))
            except (JobError, IntegrityError) as error:
                self.stderr.write(str(error))  # the latter, if a table of the host's refers to it
                failed += 1
            else:
                self._delete_log(each)
                self.stdout.write(f"Deleted job {each!r}.")
        if failed:
            raise CommandError(f"{failed} of {len(job_id)} could not be deleted.")

    def _delete_log(self, job_id: str) -> None:
        """Delete what a large job leaves, here rather than in the housekeeping, which may not run."""
        connection = connection_to_write()
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task(f"Deleting the log of {job_id}", total=None)
            if job_id in left(connection):
                for events in paced(delete_left(connection, job_id)):
                    bar.advance(task, events)

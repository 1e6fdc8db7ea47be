"""``manage.py prune_jobs``: deletes ended jobs that need not be kept."""

import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count, Max, Min
from rich.console import Console
from rich.progress import Progress

from ...database import connection_to_write
from ...retention import space
from ...retention.housekeeping import finish_deletions
from ...retention.pace import paced
from ...retention.pruning import Retention, prune
from ...states import TERMINAL

UNITS = {"m": 1 / 1440, "h": 1 / 24, "d": 1.0}  # in days
INTERRUPTED = 130  # the exit code
NOTHING_ASKED = (
    "Nothing says which jobs may go. Give --older-than or --keep-latest, or set JOBS_KEEP_DAYS or JOBS_KEEP_COUNT."
)


def days(text: str) -> float:
    """Return how many days ``30``, ``30d``, ``12h`` or ``45m`` are."""
    number, unit = (text[:-1], UNITS[text[-1]]) if text[-1:] in UNITS else (text, UNITS["d"])
    try:
        found = float(number) * unit
    except ValueError:
        found = -1
    if not 0 <= found <= 36_500:
        raise ArgumentTypeError(f"{text!r} is no age; write 30d, 12h or 45m.")
    return found


def count(text: str) -> int:
    """Return a number of jobs."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is no number of jobs.")
    return int(text)


class Command(BaseCommand):
    """Prune by what is asked for, or else by the settings."""

    help = (
        "Deletes ended jobs with their logs, the oldest first, in small batches between which others write. A job goes "
        "once nothing keeps it: neither its age, nor that it is one of the latest, nor its own 'keep'. Without "
        "--older-than and --keep-latest, the settings JOBS_KEEP_DAYS and JOBS_KEEP_COUNT say what goes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        statuses = sorted(TERMINAL)
        parser.add_argument(
            "--older-than", type=days, metavar="AGE", help="those that ended so long ago: 30d, 12h, 45m"
        )
        parser.add_argument("--keep-latest", type=count, metavar="N", help="keep the latest N in any case")
        parser.add_argument(
            "--status", action="append", choices=statuses, help="only these; may be given several times"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be deleted, and delete nothing")
        parser.add_argument(
            "--vacuum",
            action="store_true",
            help="then rebuild the SQLite file, so that it gives its free space back, now and from here on; writers "
            "wait meanwhile, about a second for 200 MB",
        )

    def handle(self, **options: Any) -> None:
        """Prune, or say what would be pruned."""
        connection = connection_to_write()
        if options["vacuum"] and connection.vendor != "sqlite":
            raise CommandError("--vacuum is for SQLite. PostgreSQL uses the space again; VACUUM FULL gives it back.")
        retention = self._retention(options)
        if retention is None and not options["vacuum"]:
            raise CommandError(NOTHING_ASKED)
        if retention is not None:
            self._prune(retention, is_dry=options["dry_run"])
        if options["vacuum"] and not options["dry_run"]:
            before = space.space(connection).size
            space.rebuild(connection)
            after = space.space(connection).size
            self.stdout.write(f"The file takes {after / 1e6:,.1f} MB, {(before - after) / 1e6:,.1f} MB less.")

    def _retention(self, options: dict[str, Any]) -> Retention | None:
        older_than, keep_latest = options["older_than"], options["keep_latest"]
        if older_than is None and keep_latest is None:
            if options["status"]:
                raise CommandError("--status needs --older-than or --keep-latest.")
            return Retention.of_settings()
        return Retention.of(older_than, keep_latest, options["status"] or ())

    def _prune(self, retention: Retention, *, is_dry: bool) -> None:
        jobs = retention.prunable(connection_to_write()).order_by()
        found = jobs.aggregate(number=Count("pk"), first=Min("finished_at"), last=Max("finished_at"))
        if is_dry:
            by_status = jobs.values_list("status").annotate(number=Count("pk")).order_by("status")
            words = ", ".join(f"{number:,} {status}" for status, number in by_status)
            ended = (
                f" ({words}), which ended from {found['first']:%Y-%m-%d} to {found['last']:%Y-%m-%d}" if words else ""
            )
            self.stdout.write(f"Would delete {_jobs(found['number'])}{ended}. Nothing was deleted.")
            return
        began, deleted = time.monotonic(), 0
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task("Deleting jobs", total=found["number"])
            try:
                for number in paced(prune(retention)):
                    deleted += number
                    bar.advance(task, number)
                for _ in paced(finish_deletions()):  # of jobs with many events
                    pass
            except KeyboardInterrupt:
                self.stderr.write(f"Stopped. Deleted {_jobs(deleted)}; the next run goes on.")
                sys.exit(INTERRUPTED)
            except RuntimeError as error:  # of some; the others went
                raise CommandError(f"Deleted {_jobs(deleted)}. {error}") from error
        self.stdout.write(f"Deleted {_jobs(deleted)} in {time.monotonic() - began:,.1f} s.")


def _jobs(number: int) -> str:
    return f"{number:,} {'job' if number == 1 else 'jobs'}"

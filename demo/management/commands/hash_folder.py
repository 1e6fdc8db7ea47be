"""A job with real work: the SHA-256 of every file below a folder, and one digest over all."""

import signal
import sys
from argparse import ArgumentParser
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from jobs.actors import Actor
from jobs.exceptions import DuplicateJob, JobError
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Reporter
from jobs.states import Status
from progress.management.printing import PrintingCommand

from ...folder import FolderHasher, words

if TYPE_CHECKING:
    from collections.abc import Iterator

CANCELLED = 2  # exit codes
INTERRUPTED = 130


class Command(PrintingCommand):
    """Hash a folder as a job that can be watched and cancelled."""

    help = (
        "Hashes every file below a folder (SHA-256), as a job with progress in bytes. Symbolic links are not followed; "
        "what can't be read is skipped, and the job's log says so. The digest over all is that of: "
        "find . -type f -printf '%%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("folder")
        parser.add_argument("--job-id", help="run this job if it waits to be run; create it if it does not exist")
        parser.add_argument("--public", action="store_true", help="let anyone watch the job, if it is created")
        parser.add_argument("--depth", type=int, default=1, help="levels of folders that count as stages (default: 1)")
        parser.add_argument("--max-rate", type=float, metavar="MB", help="megabytes a second at most")

    def handle(self, **options: Any) -> None:
        """Run the job; exit with 0 when it has completed, 1 failed, 2 cancelled, 130 interrupted."""
        if options["depth"] < 1:
            raise CommandError(f"--depth must be 1 or more, not {options['depth']}.")
        if options["max_rate"] is not None and not options["max_rate"] > 0:
            raise CommandError(f"--max-rate must be above 0, not {options['max_rate']:g}.")
        try:
            lifecycle = self.job(options)
            self.say(lifecycle.job_id)
            self.run(lifecycle, options)
        except JobError as error:
            raise CommandError(str(error)) from error

    def job(self, options: dict[str, Any]) -> ProcessingJobLifecycle:
        """Return the job to run."""
        name = words(f"Hash of {options['folder']}")[:200]
        try:
            return ProcessingJobLifecycle.create(
                options["job_id"], name=name, public=options["public"], kind="hash_folder"
            )
        except DuplicateJob:
            return ProcessingJobLifecycle(options["job_id"])

    def run(self, lifecycle: ProcessingJobLifecycle, options: dict[str, Any]) -> None:
        """Hash the folder, and end the job whatever happens."""
        with Reporter(lifecycle, unit="bytes") as report, stop_signals():
            hasher = FolderHasher(options["folder"], report, options["depth"], options["max_rate"])
            try:
                result = hasher.run()
            except OSError as error:
                reason = f"Can't read the folder {words(options['folder'])}: {error.strerror}"
                lifecycle.mark_failed(reason, error=reason)
                raise CommandError(reason) from error
            except KeyboardInterrupt:
                lifecycle.mark_cancelled("The worker was stopped", by=Actor.command("hash_folder"))
                sys.exit(INTERRUPTED)
            report.summary, report.result = result.summary(), result.as_json()
        if lifecycle.job.status == Status.CANCELLED:
            self.stderr.write("Cancelled.")
            sys.exit(CANCELLED)
        self.say(f"{result.sha256}  {result.summary()}")


@contextmanager
def stop_signals() -> "Iterator[None]":
    """Turn the first SIGINT, SIGTERM or SIGHUP into KeyboardInterrupt; ignore later ones, while the job is ended."""
    kinds = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def interrupt(*_: object) -> None:
        for kind in kinds:
            signal.signal(kind, signal.SIG_IGN)
        raise KeyboardInterrupt

    for kind in kinds:
        signal.signal(kind, interrupt)
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)

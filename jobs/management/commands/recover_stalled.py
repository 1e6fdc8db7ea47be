"""``manage.py recover_stalled``: looks for workers that are lost, and does what is to be done about their jobs."""

import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ...database import UNAVAILABLE
from ...recovery.sweep import forget, look

INTERRUPTED = 130  # the exit code


class Command(BaseCommand):
    """Look until nothing is left to do."""

    help = (
        "Shows jobs as stalled whose worker is lost, and, after the time that a worker has to come back, does what "
        "JOBS_KINDS says of their kinds: queues them again, fails them, or leaves them. It ends at once if no worker "
        "is lost, else once nothing is left to do, within a minute. 'manage.py serve', 'manage.py housekeeping' and "
        "the workers do that all the time; this is for cron. It may be stopped at any time."
    )

    def handle(self, **_: Any) -> None:
        """Look again and again, as long as a worker is lost about whose jobs something is to be done."""
        written = 0
        try:
            while (found := look()).late:
                written += found.written
                time.sleep(found.seconds)
            forget()  # workers of which nothing is left: for cron, there is no housekeeping that would
        except UNAVAILABLE as error:
            raise CommandError(f"The database does not answer: {error}") from error
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        finally:
            self.stdout.write(f"{written:,} changes of jobs whose worker was lost.")

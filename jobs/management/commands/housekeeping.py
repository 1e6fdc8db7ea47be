"""``manage.py housekeeping``: the loop that `serve` runs, for sites on another server."""

import signal
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand

from ...retention.housekeeping import Housekeeper


class Command(BaseCommand):
    """Run the housekeeping in the foreground."""

    help = (
        "Records cancellations that no worker has answered, recovers jobs whose worker is lost, deletes what is left "
        "of deleted jobs, compacts the logs of ended ones, prunes by the settings, and forgets tokens that have "
        "expired: every JOBS_HOUSEKEEPING_SECONDS, until it is stopped. 'manage.py serve' does that by itself; of "
        "several processes, one at a time does."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--once", action="store_true", help="run one pass and end, as for cron")

    def handle(self, *, once: bool, **_: Any) -> None:
        """Run until SIGTERM or Ctrl-C, or once."""
        housekeeper = Housekeeper()
        with _stopped_by_signals(housekeeper):
            if not once:
                housekeeper.run()
            elif not housekeeper.tidy():
                self.stdout.write("Nothing was done: another process does it now, or the database does not answer.")
            else:
                housekeeper.finish()


@contextmanager
def _stopped_by_signals(housekeeper: Housekeeper) -> Iterator[None]:
    """Have SIGTERM or Ctrl-C stop it. Whoever calls the command has their own handlers again afterwards."""
    before = {kind: signal.signal(kind, lambda *_: housekeeper.stop()) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)

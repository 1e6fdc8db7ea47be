"""``manage.py serve``: the site on Daphne."""

from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Serves pages and WebSockets with Daphne. All of Daphne's flags pass through."""

    help = __doc__ or ""
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Pass the arguments on to Daphne's command line."""
        from ...transports.daphne.server import ServeCommandLine  # here, since it installs Twisted's reactor

        self.check(display_num_errors=False)
        self.check_migrations()
        ServeCommandLine().run(argv[2:])

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve at the default host and port, when called from code."""
        self.run_from_argv(["manage.py", "serve"])

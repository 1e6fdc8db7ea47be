"""Daphne, hardened for many watchers; started by ``manage.py serve``."""

from typing import Any

from daphne.cli import CommandLineInterface

from progress.conf import conf

APPLICATION = "progress_site.asgi:application"


class ServeCommandLine(CommandLineInterface):
    """Daphne's command line, with our defaults; every flag of Daphne's works."""

    description = "Serve the site with Daphne: pages and WebSockets."

    def __init__(self) -> None:
        super().__init__()
        self.parser.prog = "manage.py serve"
        self.parser.set_defaults(
            application=APPLICATION,
            websocket_max_message_size=conf.MAX_MESSAGE_BYTES,
            websocket_max_frame_size=conf.MAX_MESSAGE_BYTES,
        )
        for action in self.parser._actions:
            if action.dest == "application":
                action.nargs = "?"
                action.default = APPLICATION

    def run(self, args: list[str]) -> Any:
        """Serve until a signal ends it."""
        return super().run(args)

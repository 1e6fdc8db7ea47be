"""The base of our commands, which print in whatever encoding the terminal has, to a reader that may go away."""

import contextlib
import os
import sys
from io import TextIOWrapper

from django.core.management.base import BaseCommand

READER_GONE = 4  # the exit code of a command whose only purpose was its output


class PrintingCommand(BaseCommand):
    """A command whose output people read or pipe."""

    def run_from_argv(self, argv: list[str]) -> None:
        """Run; end quietly once nobody reads the output any more, as in ``watch_job … | head -1``."""
        replace_what_the_encoding_lacks()
        try:
            super().run_from_argv(argv)
        except BrokenPipeError:
            discard_output()
            sys.exit(READER_GONE)
        finally:
            flush()

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """Print the help; ``manage.py help`` calls this without `run_from_argv`."""
        replace_what_the_encoding_lacks()
        super().print_help(prog_name, subcommand)

    def say(self, text: str) -> None:
        """Print a line at once, and go on even if nobody reads it."""
        with contextlib.suppress(BrokenPipeError):
            self.stdout.write(text)
        flush()


def replace_what_the_encoding_lacks() -> None:
    """Print a ``?`` for each character that the output's encoding lacks, instead of failing."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def flush() -> None:
    """Flush the output; discard it if nobody reads."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()


def discard_output() -> None:
    """Redirect further output to nowhere, so that Python does not report an error at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)

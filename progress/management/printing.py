"""What our commands share: they print in whatever encoding the terminal has, to a reader that may go away."""

import contextlib
import os
import sys
from io import TextIOWrapper

from django.core.management.base import BaseCommand

READER_GONE = 4  # the exit code of a command that was there for who read it


class PrintingCommand(BaseCommand):
    """A command that prints for people, when it is run from a command line."""

    def run_from_argv(self, argv: list[str]) -> None:
        """Run; end quietly where nobody reads any more, as in ``watch_job … | head -1``."""
        replace_what_the_encoding_lacks()
        try:
            super().run_from_argv(argv)
        except BrokenPipeError:
            discard_output()
            sys.exit(READER_GONE)
        finally:
            flush()

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """Print the help, which ``manage.py help`` asks for without a run."""
        replace_what_the_encoding_lacks()
        super().print_help(prog_name, subcommand)

    def say(self, text: str) -> None:
        """Print a line at once, in a command whose work goes on whether or not anybody reads."""
        with contextlib.suppress(BrokenPipeError):
            self.stdout.write(text)
        flush()


def replace_what_the_encoding_lacks() -> None:
    """Have a ``?`` printed for each character that the output's encoding has not got; else nothing would be."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def flush() -> None:
    """Let out what is printed; to nobody, if nobody reads."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()


def discard_output() -> None:
    """Let what is printed from here on go nowhere, so that Python does not complain of it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)

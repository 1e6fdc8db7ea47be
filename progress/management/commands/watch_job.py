"""Follow a job from a terminal."""

import asyncio
import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from ...client.connection import WatchError
from ...client.terminal import Exit, JsonDisplay, display_for, explain, show
from ..printing import PrintingCommand

DEFAULT_URL = "ws://127.0.0.1:8000"
EPILOGUE = """\
The exit code says how the job ended:
  0  completed
  1  failed
  2  cancelled
  3  the job was not found, or is not for you to see
  4  anything else: no server answers, --url is not a URL, nobody reads the output, …
  130  Ctrl-C
"""


class Command(PrintingCommand):
    """Show a job live until it ends: a bar on a terminal, else lines, or JSON."""

    help = "Shows a job live until it ends. After a lost connection it reconnects and resumes."
    requires_system_checks = ()  # it needs neither the database nor the settings of the site

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        """Append the exit codes to the help."""
        kwargs |= {"epilog": EPILOGUE, "formatter_class": RawDescriptionHelpFormatter}
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("job_id", metavar="JOB_ID")
        parser.add_argument("--url", default=DEFAULT_URL, help=f"where the site is (default: {DEFAULT_URL})")
        parser.add_argument("--token", help="admits to a job that is not public (default: the variable PROGRESS_TOKEN)")
        parser.add_argument("--json", action="store_true", help="print each frame as a line of JSON")
        parser.add_argument("--logs", action="store_true", help="show the lines of the job's log as well")
        parser.add_argument("--output", action="store_true", help="print what the job puts out, as it comes")

    def handle(self, **options: Any) -> None:
        """Follow the job; the exit code says how it ended."""
        self.stdout.ending = ""  # what is written brings its own newlines; output may have none
        display = JsonDisplay(self.stdout) if options["json"] else display_for(self.stdout)
        try:
            code = asyncio.run(
                show(
                    display,
                    options["url"],
                    options["job_id"],
                    token=options["token"] or os.environ.get("PROGRESS_TOKEN"),
                    logs=options["logs"],
                    output=options["output"],
                )
            )
        except (WatchError, ValueError) as error:
            words, code = explain(error, options["url"])
            self.stderr.write(words)
        except KeyboardInterrupt:
            code = Exit.INTERRUPTED
        sys.exit(code)

"""A handler of `logging` whose records are lines of a job's log. Django's ``LOGGING`` may name it."""

import logging
from typing import TYPE_CHECKING, Any

from .. import validation
from .entered import reporters

if TYPE_CHECKING:  # Django sets up logging before there are models
    from .remote import RemoteReporter
    from .reporter import Reporter

# What is logged while a job is written: by this app, and by Django of each query.
OWN = f"{__package__.rpartition('.')[0]}.", "django.db.backends."
LEVELS = (logging.CRITICAL, "critical"), (logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info")


class JobLogHandler(logging.Handler):
    """Adds records to the log of the job that the code works on: of the current reporter. Without one it does nothing.

    It raises nothing and waits for nobody: a line is noted, cut to 2,000 characters, and written with the next report.
    A record that can't be formatted is a line that says so.

    Args:
        level: The lowest level of the records that it takes.
        report: Whose job's log it is, whichever code logs, in any thread; None for the current reporter.

    """

    def __init__(self, level: int | str = logging.NOTSET, *, report: "Reporter | RemoteReporter | None" = None) -> None:
        super().__init__(level)
        self._report = report

    def handle(self, record: logging.LogRecord) -> Any:
        """Take a record, without the handler's lock: notes have one of their own, within which others may log."""
        taken = self.filter(record)
        if taken:
            self.emit(taken if isinstance(taken, logging.LogRecord) else record)
        return taken

    def emit(self, record: logging.LogRecord) -> None:
        """Note a record, unless writing what is noted has made it: that would be written, and logged, for ever."""
        report: Reporter | RemoteReporter | None = self._report or reporters.innermost
        if report is not None and not f"{record.name}.".startswith(OWN):
            level = next((name for lowest, name in LEVELS if record.levelno >= lowest), "debug")
            report.note_line(self._line(record), level)

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:  # whatever a foreign object raises
            return f"{validation.in_words(record.msg)} (not formatted: {type(error).__name__})"

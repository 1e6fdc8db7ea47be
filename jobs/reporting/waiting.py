"""What was taken from the notes, and is to be written."""

from collections.abc import Callable
from typing import NamedTuple

from ..batch import log_decision, output_decision, progress_decision
from ..decisions import Deferred
from .entries import Entry

LINES = ("log", "output")
DECISIONS: dict[str, Callable[..., Deferred]] = {
    "mark_progress": progress_decision,
    "log": log_decision,
    "output": output_decision,
}


class Waiting(NamedTuple):
    """What was noted, and for a report how it is written: once, however often that is tried."""

    entry: Entry
    decision: Deferred | None

    @classmethod
    def of(cls, entry: Entry) -> "Waiting":
        """Return what is to be written of an entry."""
        name, arguments = entry
        return cls(entry, DECISIONS[name](**arguments) if name in DECISIONS else None)

    @property
    def is_superseded(self) -> bool:
        """Whether a later report may take its place: it is a tick, and surely not written."""
        name, arguments = self.entry
        return name == "mark_progress" and "stage" not in arguments and not (self.decision and self.decision.sent)

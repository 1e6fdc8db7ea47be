"""What is done once a writer's transaction commits: nobody remembers, or is told, what may be rolled back."""

from collections.abc import Sequence
from typing import Protocol

from .decisions import Decision
from .events import Event
from .ids import birth
from .models import ProcessingJob
from .retention import trimming
from .writes import announce

Attempt = tuple[str, int]  # which job, of all that ever had its id, and which run of it


def attempt_of(job: ProcessingJob) -> Attempt:
    """Return what identifies an attempt among all others. It stays the same when the job's history is rewritten."""
    return birth(job.epoch), job.attempt


class Writer(Protocol):
    """Who writes, and knows what is committed."""

    def settle(self, job: ProcessingJob, attempt: Attempt) -> None:
        """Take a committed state as known."""


class Committed:
    """What is done when a writer's transaction commits: a hook, which until then shows the writer what is uncommitted.

    A receiver of an event that uses the writer finds it up to date.
    """

    __slots__ = "attempt", "decisions", "events", "job", "writer"

    def __init__(
        self,
        writer: Writer,
        job: ProcessingJob,
        events: Sequence[Event] = (),
        decisions: Sequence[Decision] = (),
        attempt: Attempt | None = None,
    ) -> None:
        self.writer, self.job, self.events, self.decisions = writer, job, events, decisions
        self.attempt = attempt or attempt_of(job)

    def __call__(self) -> None:
        """Know and announce it; now and then, trim the log."""
        self.writer.settle(self.job, self.attempt)
        for decision in self.decisions:
            decision.is_written = True
        for event in self.events:
            announce(event)
        for event in self.events:
            if event.seq % trimming.TRIM_EVERY == 0:
                trimming.trim(self.job)

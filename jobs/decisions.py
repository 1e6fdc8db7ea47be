"""What a writer was asked for, and what is known of whether that is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from .actions import Action
from .changes import Change
from .models import ProcessingJob
from .writes import Write, is_logged


@dataclass(slots=True)
class Decision:
    """What a method was asked for: a function of `changes`, all its arguments but the job, and who it was, if kept.

    The same call, made again, makes an equal one.
    """

    decide: Callable[..., Change | None]
    arguments: dict[str, Any]
    action: Action | None = None
    is_written: bool = field(default=False, compare=False)  # for sure: it is committed
    sent: "tuple[Sent, ...]" = field(default=(), compare=False)  # perhaps: with one of these

    def on(self, job: ProcessingJob) -> Change | None:
        """Return what is to change in a job as it is now."""
        return self.decide(job, **self.arguments)


class Deferred(Decision):
    """A decision that is kept until it is written, and handed in again until then. It is written once.

    It is equal to itself alone: a job may say the same twice.
    """

    __slots__ = ()
    __eq__ = object.__eq__
    __hash__ = object.__hash__


class Sent(NamedTuple):
    """What a transaction was to write when the connection was lost: all of it may be committed, or nothing."""

    decisions: Sequence[Decision]
    writes: Sequence[Write]

    def is_committed(self, connection: BaseDatabaseWrapper) -> bool:
        """Return what the log says, while nobody else can write; the decisions know it from then on."""
        if not is_logged(connection, self.writes[-1].event):
            return False
        for decision in self.decisions:
            decision.is_written = True
        return True


def lost(decisions: Sequence[Decision], writes: Sequence[Write]) -> Sent:
    """Return what was sent when the connection was lost; the decisions know that they may be written."""
    sent = Sent(decisions, [*writes])
    for decision in decisions:
        decision.sent += (sent,)
    return sent

"""From the ``jobs`` app, what is pure: events, their kinds, statuses, the form of an id, and what a query takes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__ == "progress.source":
    from jobs.batches import MANY_IDS, MAX_IDS, batched
    from jobs.events import Event
    from jobs.ids import is_job_id
    from jobs.states import EXTRAS, LISTED, TERMINAL, ActionKind, EventKind, Status
else:
    from ...jobs.batches import MANY_IDS, MAX_IDS, batched
    from ...jobs.events import Event
    from ...jobs.ids import is_job_id
    from ...jobs.states import EXTRAS, LISTED, TERMINAL, ActionKind, EventKind, Status

__all__ = [
    "EXTRAS",
    "LISTED",
    "MANY_IDS",
    "MAX_IDS",
    "TERMINAL",
    "ActionKind",
    "Event",
    "EventKind",
    "Status",
    "batched",
    "is_job_id",
]

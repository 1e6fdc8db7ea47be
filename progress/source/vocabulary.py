"""From the ``jobs`` app, what is pure: events, their kinds, statuses, and the form of an id."""

from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__ == "progress.source":
    from jobs.events import Event
    from jobs.ids import is_job_id
    from jobs.states import EventKind, Status
else:
    from ...jobs.events import Event
    from ...jobs.ids import is_job_id
    from ...jobs.states import EventKind, Status

__all__ = ["Event", "EventKind", "Status", "is_job_id"]

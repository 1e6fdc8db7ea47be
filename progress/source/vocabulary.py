"""What an event is, the words of a job's life, and what its id looks like: pure."""

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

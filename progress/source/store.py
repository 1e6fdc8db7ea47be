"""From the ``jobs`` app: the stored jobs, who may see them, and the signal of committed events."""

from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__ == "progress.source":
    from jobs import access, lifecycle, selectors
    from jobs.access import type_of_user
    from jobs.database import most_ids
    from jobs.models import ProcessingJob
    from jobs.selectors import Head, Span
    from jobs.signals import job_event_committed
    from jobs.threads import ThreadPool
else:
    from ...jobs import access, lifecycle, selectors
    from ...jobs.access import type_of_user
    from ...jobs.database import most_ids
    from ...jobs.models import ProcessingJob
    from ...jobs.selectors import Head, Span
    from ...jobs.signals import job_event_committed
    from ...jobs.threads import ThreadPool

__all__ = [
    "Head",
    "ProcessingJob",
    "Span",
    "ThreadPool",
    "access",
    "job_event_committed",
    "lifecycle",
    "most_ids",
    "selectors",
    "type_of_user",
]

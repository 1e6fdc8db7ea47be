"""From the ``jobs`` app: the stored jobs, who may see them, and the signal of committed events."""

from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__ == "progress.source":
    from jobs import access, epochs, selectors
    from jobs.access import type_of_user
    from jobs.actions import record_of_token
    from jobs.actors import Actor, By, actor_of
    from jobs.among import among
    from jobs.database import UNAVAILABLE, database_alias, most_ids
    from jobs.models import JobEvent, ProcessingJob
    from jobs.retention import housekeeping
    from jobs.retention.chart import course_chart
    from jobs.retention.trimming import log_tail
    from jobs.selectors import Head, Span
    from jobs.signals import job_deleted, job_event_committed
    from jobs.threads import ThreadPool, is_in_tests
else:
    from ...jobs import access, epochs, selectors
    from ...jobs.access import type_of_user
    from ...jobs.actions import record_of_token
    from ...jobs.actors import Actor, By, actor_of
    from ...jobs.among import among
    from ...jobs.database import UNAVAILABLE, database_alias, most_ids
    from ...jobs.models import JobEvent, ProcessingJob
    from ...jobs.retention import housekeeping
    from ...jobs.retention.chart import course_chart
    from ...jobs.retention.trimming import log_tail
    from ...jobs.selectors import Head, Span
    from ...jobs.signals import job_deleted, job_event_committed
    from ...jobs.threads import ThreadPool, is_in_tests

__all__ = [
    "UNAVAILABLE",
    "Actor",
    "By",
    "Head",
    "JobEvent",
    "ProcessingJob",
    "Span",
    "ThreadPool",
    "access",
    "actor_of",
    "among",
    "course_chart",
    "database_alias",
    "epochs",
    "housekeeping",
    "is_in_tests",
    "job_deleted",
    "job_event_committed",
    "log_tail",
    "most_ids",
    "record_of_token",
    "selectors",
    "type_of_user",
]

"""What a job's parent and children mean to it when it is made, and when it is to be cancelled."""

from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q

from .attempt import AttemptWriter
from .children import children_of
from .database import jobs_as_written
from .exceptions import InvalidValue, StaleAttempt
from .models import ProcessingJob
from .states import TERMINAL, Status

Parent = ProcessingJob | AttemptWriter | str | UUID


def parent_of_new(parent: Parent) -> ProcessingJob:
    """Return the row of a parent, which may have a new child.

    Raises:
        InvalidValue: It is not there, or has ended.
        StaleAttempt: It is another attempt by now.

    """
    writer = parent if isinstance(parent, AttemptWriter) else AttemptWriter(parent)
    row = jobs_as_written().filter(pk=writer.job_id).first()
    if row is None:
        raise InvalidValue(f"The parent {writer.job_id!r} is not there.")
    if row.is_finished:
        raise InvalidValue(f"The parent {writer.job_id!r} has ended ({row.status}).")
    if isinstance(stale := writer.why_stop(row), StaleAttempt):
        raise stale
    return row


def is_to_be_cancelled(job_id: str) -> bool:
    """Return whether somebody has asked for a job to be cancelled, or it is."""
    is_asked = Q(cancel_requested_at__isnull=False) | Q(status=Status.CANCELLED)
    return jobs_as_written().filter(is_asked, pk=job_id).exists()


def unasked_children(connection: BaseDatabaseWrapper, parent_id: str) -> list[str]:
    """Return the ids of a job's children that have not ended, and that nobody has asked to."""
    children = children_of(connection.alias, [parent_id]).exclude(status__in=TERMINAL)
    return list(children.filter(cancel_requested_at=None).values_list("pk", flat=True))

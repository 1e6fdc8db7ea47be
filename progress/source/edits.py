"""A job that has another owner or visibility, perhaps: the lifecycle tells of that by an event, a save by a signal."""

from collections.abc import Callable
from typing import Any

from django.db.models.signals import post_save

from .store import ProcessingJob, job_event_committed
from .vocabulary import Event, EventKind

DECIDES_ACCESS = {"owner", "owner_id", "public"}


def connect(tell: Callable[[str | None], None]) -> None:
    """Have a function called whenever what decides access to a job may have changed.

    Args:
        tell: Gets the alias of the database, if that is not committed yet.

    """

    def saved(created: bool, update_fields: Any, using: str, **_: Any) -> None:
        if not created and (update_fields is None or DECIDES_ACCESS & set(update_fields)):
            tell(using)

    def edited(event: Event, **_: Any) -> None:
        if event.kind is EventKind.EDIT:
            tell(None)

    job_event_committed.connect(edited, weak=False, dispatch_uid="progress.access")
    post_save.connect(saved, sender=ProcessingJob, weak=False, dispatch_uid="progress.access")

"""A job that was saved with another owner or visibility, perhaps: by the admin, say. The lifecycle saves no job."""

from collections.abc import Callable
from typing import Any

from django.db.models.signals import post_save

from .store import ProcessingJob

DECIDES_ACCESS = {"owner", "owner_id", "public"}


def connect(tell: Callable[[str], None]) -> None:
    """Have a function called with the database's alias whenever what decides access to a job may have been saved."""

    def saved(created: bool, update_fields: Any, using: str, **_: Any) -> None:
        if not created and (update_fields is None or DECIDES_ACCESS & set(update_fields)):
            tell(using)

    post_save.connect(saved, sender=ProcessingJob, weak=False, dispatch_uid="progress.access")

"""The progress app."""

from django.apps import AppConfig


class ProgressConfig(AppConfig):
    """Shows jobs live."""

    name = __package__
    verbose_name = "Live progress"

    def ready(self) -> None:
        """Connect to the signals of what changes, and register the checks that run at start."""
        from . import access, checks
        from .broker import doorbell, layers
        from .broker.publisher import publish, publish_deletion
        from .delivery.hubs import compare, deliver
        from .identity.revocation import forget_expired
        from .source.store import housekeeping, job_deleted, job_event_committed

        layers.load()
        checks.warn_of_server()
        access.connect()
        housekeeping.on_each_pass(forget_expired)
        job_event_committed.connect(deliver, dispatch_uid="progress.hub")
        job_event_committed.connect(publish, dispatch_uid="progress.publisher")
        job_event_committed.connect(doorbell.ring, dispatch_uid="progress.doorbell")
        job_deleted.connect(compare, dispatch_uid="progress.hub")
        job_deleted.connect(publish_deletion, dispatch_uid="progress.publisher")
        job_deleted.connect(doorbell.ring, dispatch_uid="progress.doorbell")

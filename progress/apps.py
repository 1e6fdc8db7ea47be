"""The progress app."""

from django.apps import AppConfig


class ProgressConfig(AppConfig):
    """Shows jobs live."""

    name = __package__
    verbose_name = "Live progress"

    def ready(self) -> None:
        """Connect to the signals of what changes, and register the checks that run at start."""
        from . import access, checks
        from .broker import layers
        from .broker.publisher import publish
        from .delivery.hubs import deliver
        from .source.store import job_event_committed

        layers.load()
        checks.warn_of_server()
        access.connect()
        job_event_committed.connect(deliver, dispatch_uid="progress.hub")
        job_event_committed.connect(publish, dispatch_uid="progress.publisher")

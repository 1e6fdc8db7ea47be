"""The progress app."""

from django.apps import AppConfig


class ProgressConfig(AppConfig):
    """Shows jobs live."""

    name = "progress"
    verbose_name = "Live progress"

    def ready(self) -> None:
        """Listen for committed events, and register the checks that run at start."""
        from jobs.signals import job_event_committed
        from progress import checks
        from progress.broker import layers
        from progress.broker.publisher import publish
        from progress.delivery.hub import deliver

        layers.load()
        checks.warn_of_server()
        job_event_committed.connect(deliver, dispatch_uid="progress.hub")
        job_event_committed.connect(publish, dispatch_uid="progress.publisher")

"""The jobs app."""

from django.apps import AppConfig
from django.db.models.signals import pre_migrate


class JobsConfig(AppConfig):
    """Background jobs and the log of their changes."""

    name = __package__
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Background jobs"

    def ready(self) -> None:
        """Register the checks that run at start, and hear of deletions."""
        from . import access, database, threads  # noqa: F401
        from .retention import compaction, deletion, housekeeping, pruning, space, trimming  # noqa: F401
        from .time_left import store

        deletion.listen()
        pre_migrate.connect(space.prepare, sender=self)
        housekeeping.on_each_pass(store.forget_expired)

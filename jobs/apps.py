"""The jobs app."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Background jobs and the log of their changes."""

    name = __package__
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Background jobs"

    def ready(self) -> None:
        """Register the checks that run at start, and hear of deletions."""
        from . import access, database, threads  # noqa: F401
        from .retention import compaction, deletion, housekeeping, pruning, trimming  # noqa: F401
        from .time_left import store

        deletion.listen()
        housekeeping.on_each_pass(store.forget_expired)

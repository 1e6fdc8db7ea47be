"""The apps, with labels of this project's."""

from django.apps import AppConfig

from host.background.jobs.apps import JobsConfig
from host.background.progress.apps import ProgressConfig


class WorkConfig(JobsConfig):
    """The jobs."""

    label = "work"


class LiveConfig(ProgressConfig):
    """Their progress."""

    label = "live"


class AccountsConfig(AppConfig):
    """The users."""

    name = "host.accounts"
    default_auto_field = "django.db.models.BigAutoField"

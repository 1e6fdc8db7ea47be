"""The demo app."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    """Commands that run jobs and show them."""

    name = __package__
    verbose_name = "Demonstration"

"""The demo app."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    """Jobs to look at, and commands that run and show them."""

    name = __package__
    verbose_name = "Demonstration"

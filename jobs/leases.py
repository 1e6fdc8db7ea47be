"""Rows that hold until a moment by the database's clock: who may do something, and which workers are alive."""

from django.db import models


class Lease(models.Model):
    """What one process at a time may do, until a moment by the database's clock."""

    name = models.CharField(primary_key=True, max_length=32)
    holder = models.CharField(max_length=32)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name}: {self.holder}"


class Worker(models.Model):
    """A process that runs jobs: taken to be alive until a moment by the database's clock.

    One row a process, so that one small write renews the promise for all of its jobs. No index names a time: there are
    few rows, and PostgreSQL would make new index entries for each renewal.
    """

    id = models.CharField(primary_key=True, max_length=32)
    name = models.CharField(max_length=255, blank=True, help_text="Its host and the id of its process.")
    until = models.DateTimeField()
    late_since = models.DateTimeField(null=True, help_text="Since then, each look has found it past that moment.")
    late_at = models.DateTimeField(null=True, help_text="The last look that has.")
    is_settled = models.BooleanField(
        default=False, help_text="It is lost, and all is done that was to be done about its jobs."
    )

    def __str__(self) -> str:
        return self.name or self.id

"""Which process may do something that only one should do at a time: a row that says who, and until when."""

import secrets
import time
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from ..database import with_retries
from ..leases import Lease

NEVER = float("-inf")
LEASE_SECONDS = 30.0  # after the last word of a process that has died, another takes over


class LeaseHolder:
    """Takes a lease, keeps it, and gives it back. All times are the database's, since clocks differ.

    An advisory lock would not survive a pooler that shares connections, and SQLite has none.

    Args:
        name: What the lease is for.

    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.holder = secrets.token_hex(16)
        self._taken_at = NEVER  # by the monotonic clock

    def take(self) -> bool:
        """Take the lease, or prolong it; return whether it is held from here on."""
        asked_at, self._taken_at = time.monotonic(), NEVER
        if is_taken := with_retries(self._take):
            self._taken_at = asked_at
        return is_taken

    def keep(self) -> bool:
        """Prolong the lease if it is time; return whether it is still held."""
        return time.monotonic() - self._taken_at < LEASE_SECONDS / 3 or self.take()

    def give_back(self) -> None:
        """Let another take it at once."""
        with_retries(lambda connection: self._rows(connection).filter(holder=self.holder).delete())

    def _take(self, connection: BaseDatabaseWrapper) -> bool:
        until = Now() + timedelta(seconds=LEASE_SECONDS)
        held = {"holder": self.holder, "until": until}
        # The last, if the clock was set back: by far, since another's statement may have begun a moment after this one.
        free = Q(holder=self.holder) | Q(until__lt=Now()) | Q(until__gt=Now() + timedelta(seconds=2 * LEASE_SECONDS))
        if self._rows(connection).filter(free).update(**held):
            return True
        if self._rows(connection).exists():
            return False
        try:
            with transaction.atomic(using=connection.alias):
                Lease.objects.using(connection.alias).create(name=self.name, **held)
        except IntegrityError:
            return False  # another was faster
        return True

    def _rows(self, connection: BaseDatabaseWrapper) -> "QuerySet[Lease]":
        return Lease.objects.using(connection.alias).filter(name=self.name)

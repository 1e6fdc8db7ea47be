"""Delete what is known of expired tokens."""

from typing import Any

from ...identity.revocation import forget_expired
from ..printing import PrintingCommand


class Command(PrintingCommand):
    """Delete what is known of expired tokens."""

    help = "Deletes what is known of tokens that have expired, revoked or not."

    def handle(self, **_: Any) -> None:
        """Delete it."""
        count = forget_expired()
        self.say(f"Forgot {count:,} expired {'token' if count == 1 else 'tokens'}.")

"""Revoke tokens from a shell."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from ...identity.revocation import revoke_token
from ...source.store import Actor
from ..printing import PrintingCommand

BY = Actor.command("revoke_token")


class Command(PrintingCommand):
    """Revoke tokens by their names."""

    help = "Revokes tokens, of this site or of other services: open sockets that have shown one end within seconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("jti", metavar="JTI", nargs="+", help="the name of a token, its claim jti; not the token")

    def handle(self, **options: Any) -> None:
        """Revoke each."""
        for jti in options["jti"]:
            try:
                is_known = revoke_token(jti, by=BY)
            except ValueError as error:
                raise CommandError(f"{jti[:20]!r} is no token's name: {error}.") from None
            self.say(f"Revoked {jti}" if is_known else f"Revoked {jti}, which this site has not issued: is it right?")

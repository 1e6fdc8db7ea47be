"""Issue a token from a shell."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError
from django.urls import reverse

from ...identity import web_tokens
from ...identity.tokens import issue_token
from ...protocol.frames import FEEDS
from ...source.store import Actor, selectors
from ..printing import PrintingCommand

BY = Actor.command("issue_token")


class Command(PrintingCommand):
    """Print a new token, and on the output nothing else, so that it can be piped."""

    help = (
        "Prints a new token, for a user or for jobs; and on the error output its name and, for one job, the link to "
        "its page. It is listed in the admin, where it can be revoked."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--user", metavar="NAME", help="whom it identifies; without one, it admits to the jobs alone"
        )
        parser.add_argument(
            "--job", metavar="ID", action="append", help="a job, or the beginning of ids and '*'; may be repeated"
        )
        parser.add_argument("--feed", choices=FEEDS, help="the feed that it admits to")
        parser.add_argument("--seconds", type=float, help="how long it is valid (default: PROGRESS_TOKEN_SECONDS)")
        parser.add_argument("--note", default="", help="what it is for, for the list in the admin")

    def handle(self, **options: Any) -> None:
        """Issue it."""
        user = None if options["user"] is None else _user(options["user"])
        try:
            token = issue_token(user, options["job"], options["feed"], options["seconds"], BY, note=options["note"])
        except ValueError as error:
            raise CommandError(f"No token was issued: {error}. Give --user, --job or both.") from None
        self.say(token)
        self._explain(token, options["job"] or [])

    def _explain(self, token: str, names: list[str]) -> None:
        """Say, apart from the token, what else is to be known of it."""
        claims = web_tokens.decode(token)
        self.stderr.write(f"Its name, for revoke_token: {claims.jti}. Valid until {claims.expires:%Y-%m-%d %H:%M} UTC.")
        job_ids = [name for name in names if not name.endswith("*")]
        there = {job.pk for job in selectors.get_jobs(job_ids)}
        for job_id in job_ids:
            if job_id not in there:
                self.stderr.write(f"There is no job {job_id!r} yet.")
        if len(names) == len(job_ids) == 1:
            self.stderr.write(f"As a link, behind the site's name: {reverse('progress:job', args=names)}#t={token}")


def _user(name: str) -> Any:
    model = get_user_model()
    try:
        return model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        raise CommandError(f"There is no user {name!r}.") from None

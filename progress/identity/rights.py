"""What decides what a client may see: the access policy on its user, and what its token names.

This is the only place that knows of both. The policy never sees a token; where a token admits without a user, what it
names is all that counts. All functions read the database, and raise what the policy raises.
"""

import logging
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..protocol.frames import FeedName
from ..source.store import UNAVAILABLE, access, selectors, type_of_user
from .grant import Grant

if TYPE_CHECKING:
    from ..source.store import ProcessingJob

logger = logging.getLogger(__name__)


class Rights(NamedTuple):
    """What decides what a client may see. An answer may be shared by those whose rights are equal, and by no others.

    Args:
        user: Whom the policy is asked about.
        grant: What the client's token names; None if it names nothing, or there is no token.

    """

    user: type_of_user
    grant: Grant | None = None

    @property
    def is_of_user(self) -> bool:
        """Whether the policy is asked: always, but for a token that admits without a user."""
        return self.grant is None or self.grant.has_user

    def admits(self, job_id: str) -> bool:
        """Return whether the token, if there is one, leaves the job to be asked about."""
        return self.grant is None or self.grant.admits(job_id)

    def admits_feed(self, name: FeedName) -> bool:
        """Return whether a feed may be watched."""
        if name == "mine" and not self.user.is_authenticated:
            return False
        return self.grant is None or self.grant.admits_feed(name)


def may_view(rights: Rights, job: "ProcessingJob | None") -> bool:
    """Return whether a client may see a job.

    The policy is asked about a job that does not exist or is not named as well, since the time must not tell.
    """
    is_seen = access.may_view(rights.user, job) if rights.is_of_user else job is not None
    return is_seen and job is not None and rights.admits(job.pk)


def viewable(wanted: Mapping[Rights, Collection[str]]) -> dict[Rights, tuple[set[str], set[str]]]:
    """Return which jobs each may see, and on which the policy can't decide: asked once for each user.

    Raises:
        OperationalError: The database does not answer.

    """
    admitted = {
        rights: set(job_ids) if rights.grant is None else set(filter(rights.admits, job_ids))
        for rights, job_ids in wanted.items()
    }
    asked: dict[type_of_user, set[str]] = {}
    named: set[str] = set()
    for rights, job_ids in admitted.items():
        (asked.setdefault(rights.user, set()) if rights.is_of_user else named).update(job_ids)
    of_users = access.viewable(asked) if asked else {}
    existing = set(selectors.heads(list(named))) if named else set()
    answers = {}
    for rights, job_ids in admitted.items():
        seen, undecided = of_users[rights.user] if rights.is_of_user else (existing, set())
        answers[rights] = seen & job_ids, undecided & job_ids
    return answers


def newest(wanted: Collection[Rights], feed: FeedName, limit: int) -> dict[Rights, list[str]]:
    """Return the ids of what `recent` returns for each: asked every few seconds for feeds, and once for all users.

    For each that names jobs it is a query or two more. Those for whom the policy can't tell are left out.
    """
    unnamed = [rights for rights in wanted if rights.grant is None or rights.grant.jobs is None]
    of_users = access.newest([rights.user for rights in unnamed], limit, own=feed == "mine")
    found = {rights: of_users[rights.user] for rights in unnamed if rights.user in of_users}
    for rights in set(wanted) - set(unnamed):
        try:
            found[rights] = [job.pk for job in recent(rights, feed, limit)]
        except UNAVAILABLE:
            raise
        except Exception as error:
            logger.warning("The access policy can't tell the newest jobs that a token names: %r", error)
    return found


def recent(rights: Rights, feed: FeedName, limit: int) -> "list[ProcessingJob]":
    """Return the newest jobs of a feed that a client may see, newest first."""
    if not rights.admits_feed(feed):
        return []
    names = None if rights.grant is None else rights.grant.jobs
    if not rights.is_of_user:
        return selectors.recent_named_jobs(names or (), limit)
    return selectors.recent_jobs(rights.user, limit, own=feed == "mine", names=names)

"""What decides what a client may see: the access policy on its user, and what its token names.

This is the only place that knows of both. The policy never sees a token; where a token admits without a user, what it
names is all that counts. All functions read the database, and raise what the policy raises.
"""

import logging
from collections.abc import Collection, Mapping, Set
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..protocol.frames import FeedName
from ..source.store import UNAVAILABLE, access, selectors, type_of_user
from .grant import Grant
from .stored_users import lend

if TYPE_CHECKING:
    from ..source.store import ProcessingJob

logger = logging.getLogger(__name__)


K = TypeVar("K")


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
    lend(rights.user)
    is_seen = access.may_view(rights.user, job) if rights.is_of_user else job is not None
    return is_seen and job is not None and rights.admits(job.pk)


def viewable(wanted: Mapping[K, tuple[Rights, Set[str]]]) -> dict[K, tuple[Set[str], Set[str]]]:
    """Return which jobs each may see, and on which the policy can't decide: asked once for each user.

    Args:
        wanted: Jobs and the rights of who wants them, by any keys, which the answers have as well.

    Raises:
        OperationalError: The database does not answer.

    """
    asked: dict[type_of_user, set[str]] = {}
    named: set[str] = set()
    for rights, job_ids in wanted.values():
        of_one = set(_admitted(rights, job_ids))  # its own, which a policy may change
        asked.setdefault(rights.user, of_one).update(of_one) if rights.is_of_user else named.update(of_one)
    of_users = access.viewable(asked) if asked else {}
    of_names = set(selectors.heads(list(named))) if named else set(), set[str]()
    answers = {}
    for key, (rights, job_ids) in wanted.items():
        answers[key] = of_users[rights.user] if rights.is_of_user else of_names
        if rights.grant is not None:
            seen, undecided = answers[key]
            admitted = _admitted(rights, job_ids)
            answers[key] = seen & admitted, undecided & admitted
    return answers


def _admitted(rights: Rights, job_ids: Set[str]) -> Set[str]:
    return job_ids if rights.grant is None else set(filter(rights.admits, job_ids))


def newest(wanted: Collection[Rights], feed: FeedName, limit: int) -> dict[Rights, list[str]]:
    """Return the ids of what `recent` returns for each: asked every few seconds for feeds, and once for all users.

    For each that names jobs it is a query or two more. Those for whom the policy can't tell are left out.
    """
    unnamed = [rights for rights in wanted if rights.grant is None or rights.grant.jobs is None]
    for rights in unnamed:
        lend(rights.user)
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
    lend(rights.user)
    names = None if rights.grant is None else rights.grant.jobs
    if not rights.is_of_user:
        return selectors.recent_named_jobs(names or (), limit)
    return selectors.recent_jobs(rights.user, limit, own=feed == "mine", names=names)

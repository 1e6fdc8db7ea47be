"""What a token admits to: jobs by their ids or the beginning of these, and feeds. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..protocol.frames import FEEDS, FeedName
from ..source.vocabulary import is_job_id

MAX_NAMES = 128  # as many jobs as a socket may watch by default


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token names.

    Args:
        has_user: Whether it narrows what its user may see, as the access policy says; if not, it alone decides.
        jobs: Ids, and beginnings of ids that end in ``*``; None for every job, which takes a user.
        feed: The widest feed, since ``all`` includes ``mine``; None for no feed.

    """

    has_user: bool
    jobs: frozenset[str] | None
    feed: FeedName | None

    @classmethod
    def of(cls, watch: object, *, has_user: bool) -> "Grant | None":
        """Return what the claim ``watch`` of a token grants; None if it leaves its user what they may see.

        Without a user it grants what it names. With one it narrows what it names, and nothing else.

        Raises:
            ValueError: It is malformed, or names nothing although there is no user.

        """
        if watch is None and has_user:
            return None
        if not isinstance(watch, Mapping) or not set(watch) <= {"jobs", "feed"}:
            raise ValueError("'watch' must be an object with 'jobs', 'feed' or both")
        jobs = _names(watch["jobs"]) if "jobs" in watch else None
        feed = _feed(watch["feed"]) if "feed" in watch else None
        if has_user:
            return cls(has_user=True, jobs=jobs, feed=feed or "all")
        if jobs is None:
            raise ValueError("a token without a user must name jobs")
        if feed == "mine":
            raise ValueError("the feed 'mine' takes a user")
        return cls(has_user=False, jobs=jobs, feed=feed)

    def admits(self, job_id: str) -> bool:
        """Return whether a job is among those that are named."""
        if self.jobs is None or job_id in self.jobs:
            return True
        return any(name[-1] == "*" and job_id.startswith(name[:-1]) for name in self.jobs)

    def admits_feed(self, name: FeedName) -> bool:
        """Return whether a feed may be watched; it shows the jobs that are named."""
        return self.feed == "all" or name == self.feed


def _names(jobs: object) -> frozenset[str]:
    if isinstance(jobs, str) or not isinstance(jobs, Collection) or not 1 <= len(jobs) <= MAX_NAMES:
        raise ValueError(f"'jobs' must be a list of 1 to {MAX_NAMES} jobs")
    for name in jobs:
        # A ``*`` alone would be every job, also of everybody else.
        if not isinstance(name, str) or not is_job_id(name.removesuffix("*")):
            raise ValueError("each of 'jobs' must be the id of a job, or the beginning of ids and then '*'")
    return frozenset(jobs)


def _feed(feed: object) -> FeedName:
    for name in FEEDS:
        if feed == name:
            return name
    raise ValueError("'feed' must be 'mine' or 'all'")

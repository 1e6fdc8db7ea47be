"""Who may see which job: the one hook that WebSockets, pages and the admin ask.

Replace the policy by naming a subclass of `AccessPolicy` in ``JOBS_ACCESS_POLICY``.
"""

import contextlib
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from functools import reduce
from operator import or_
from typing import Any

from django.conf import settings
from django.contrib.auth import get_permission_codename
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core import checks
from django.db.models import Q, QuerySet
from django.utils.module_loading import import_string

from .among import among
from .batches import MANY_IDS, batched
from .database import UNAVAILABLE, database_alias, jobs_as_written, most_ids
from .models import ProcessingJob
from .permissions import holders
from .readable import readable

logger = logging.getLogger(__name__)


type_of_user = AbstractBaseUser | AnonymousUser
Viewable = tuple[Set[str], Set[str]]  # the jobs that a user may see, and those on which the policy can't decide

NOTHING: frozenset[str] = frozenset()

DEFAULT = f"{__name__}.AccessPolicy"
VIEW_PERMISSION = f"{ProcessingJob._meta.app_label}.{get_permission_codename('view', ProcessingJob._meta)}"


class AccessPolicy:
    """A job is seen by its owner, by staff with the permission to view jobs, and if public by anyone.

    The two methods must agree: ``visible`` is ``may_view`` as a query. Both run in a thread where
    the database may be used.
    """

    def may_view(self, user: type_of_user, job: ProcessingJob) -> bool:
        """Return whether ``user`` may see ``job``."""
        return _concerns(user, job.public, job.owner_id) or self._sees_all(user)

    def visible(self, user: type_of_user, jobs: "QuerySet[ProcessingJob]") -> "QuerySet[ProcessingJob]":
        """Return those of ``jobs`` that ``user`` may see."""
        if self._sees_all(user):
            return jobs
        return jobs.filter(reduce(or_, self._ways(user)))

    def recent(self, user: type_of_user, jobs: "QuerySet[ProcessingJob]", limit: int) -> list[ProcessingJob]:
        """Return the newest of those of ``jobs`` that ``user`` may see, newest first.

        One query for each way in which a job can be seen: for one query with all of them, a database scans all jobs.
        """
        if type(self).visible is not AccessPolicy.visible or self._sees_all(user):
            return readable(self.visible(user, jobs).order_by("-created_at")[:limit])
        found = [job for way in self._ways(user) for job in readable(jobs.filter(way).order_by("-created_at")[:limit])]
        return _newest_first(found)[:limit]

    def newest(self, users: Collection[type_of_user], limit: int, *, own: bool) -> dict[type_of_user, list[str]]:
        """Return the ids of what `recent` returns of all jobs, or of a user's own: asked every few seconds for feeds.

        Of what all may see, and of what all may see who see everything, the newest are read once; the rest is a query a
        user. If ``visible`` or ``recent`` is a subclass's own, that is asked for each user.
        """
        jobs = jobs_as_written().only("created_at")
        if (type(self).visible, type(self).recent) != (AccessPolicy.visible, AccessPolicy.recent):
            of_each = {user: jobs.filter(owner_id=user.pk) if own else jobs for user in users}
            return {user: _ids(self.recent(user, some, limit)) for user, some in of_each.items()}
        jobs = jobs.order_by("-created_at")
        see_all = set() if own else holders([user for user in users if _is_staff(user)], VIEW_PERMISSION)
        everything = list(jobs[:limit]) if see_all else []
        public = [] if own or len(see_all) == len(users) else list(jobs.filter(public=True)[:limit])
        newest = {}
        for user in users:
            owned = jobs.filter(owner_id=user.pk)[:limit] if _may_own(user) and user not in see_all else ()
            newest[user] = _ids(everything if user in see_all else _newest_first([*public, *owned]))[:limit]
        return newest

    def viewable(self, wanted: Mapping[type_of_user, Collection[str]]) -> dict[type_of_user, set[str]]:
        """Return which of the jobs with these ids each user may see: asked every few seconds, for all who watch.

        If ``visible`` or ``may_view`` is a subclass's own, that is asked for each user. Override this as well if there
        are thousands of users.
        """
        if type(self).visible is not AccessPolicy.visible:
            return {user: self._visible_among(user, job_ids) for user, job_ids in wanted.items()}
        job_ids = {job_id for some in wanted.values() for job_id in some}
        if type(self).may_view is not AccessPolicy.may_view:
            seen: dict[type_of_user, set[str]] = {user: set() for user in wanted}
            for piece in _pieces(job_ids):
                jobs = jobs_as_written().in_bulk(piece)
                for user, some in wanted.items():
                    seen[user] |= {job_id for job_id in jobs.keys() & some if self.may_view(user, jobs[job_id])}
            return seen
        owners: dict[str, Any] = {}
        public: set[str] = set()
        stored = jobs_as_written().values_list("pk", "public", "owner_id")
        for piece in batched(job_ids, MANY_IDS):
            for job_id, is_public, owner_id in stored.filter(among(piece)):
                owners[job_id] = owner_id
                if is_public:
                    public.add(job_id)
        return self._viewable_by_facts(wanted, owners, public)

    def _viewable_by_facts(
        self, wanted: Mapping[type_of_user, Collection[str]], owners: Mapping[str, Any], public: Collection[str]
    ) -> dict[type_of_user, set[str]]:
        """Return what `may_view` says of jobs by what decides it; whole rows take ten times as long to read."""
        answers, staff = {}, []
        for user, job_ids in wanted.items():
            may_own, pk = _may_own(user), user.pk
            answers[user] = seen = {
                job_id
                for job_id in job_ids
                if job_id in owners and (job_id in public or (may_own and owners[job_id] == pk))
            }
            if len(seen) < len(job_ids) and _is_staff(user):
                staff.append(user)  # permissions take a query, so they are asked for only where that matters
        for user in holders(staff, VIEW_PERMISSION):
            answers[user] = owners.keys() & wanted[user]
        return answers

    def _visible_among(self, user: type_of_user, job_ids: Collection[str]) -> set[str]:
        pieces = (self.visible(user, jobs_as_written().filter(pk__in=some)) for some in _pieces(job_ids))
        return {job_id for piece in pieces for job_id in piece.values_list("pk", flat=True)}

    def _ways(self, user: type_of_user) -> list[Q]:
        return [Q(public=True), *([Q(owner_id=user.pk)] if _may_own(user) else [])]

    def _sees_all(self, user: type_of_user) -> bool:
        return _is_staff(user) and bool(user.has_perm(VIEW_PERMISSION))  # type: ignore[union-attr]  # staff can be asked


def _is_staff(user: type_of_user) -> bool:
    # A user model need not say who is staff; then its superusers are.
    return bool(user.is_active and getattr(user, "is_staff", getattr(user, "is_superuser", False)))


def _concerns(user: type_of_user, public: bool, owner_id: Any) -> bool:
    return public or (_may_own(user) and owner_id == user.pk)


def _may_own(user: type_of_user) -> bool:
    # A host may let users sign in who are not active.
    return bool(user.is_authenticated and user.is_active)


def policy() -> AccessPolicy:
    """Return the policy in force."""
    made: AccessPolicy = import_string(getattr(settings, "JOBS_ACCESS_POLICY", DEFAULT))()
    return made


def may_view(user: type_of_user, job: ProcessingJob | None) -> bool:
    """Ask the policy whether ``user`` may see ``job``.

    It is asked about a job that does not exist as well: the time that the answer takes must not show whether a job is
    hidden or missing.
    """
    if job is not None:
        return policy().may_view(user, job)
    with contextlib.suppress(Exception):
        policy().may_view(user, ProcessingJob())
    return False


def viewable(wanted: Mapping[type_of_user, Collection[str]]) -> dict[type_of_user, Viewable]:
    """Ask the policy which jobs each user may see; return those, and those on which it can't decide.

    Where it raises, it is asked for each half, and so on: whatever a policy raises, it harms one user and job only.

    Raises:
        OperationalError: The database does not answer.

    """
    try:
        found = policy().viewable(wanted)
    except UNAVAILABLE:
        raise
    except Exception as error:
        pairs = [(user, job_id) for user, job_ids in wanted.items() for job_id in job_ids]
        if len(pairs) > 1:
            return _viewable_by_halves(pairs)
        for _, job_id in pairs:
            logger.warning("The access policy can't decide on job %s: %r", job_id, error)
        return {user: (NOTHING, set(job_ids)) for user, job_ids in wanted.items()}
    nobody: dict[type_of_user, Viewable] = dict.fromkeys(wanted, (NOTHING, NOTHING))
    return nobody | {user: (seen if isinstance(seen, Set) else set(seen), NOTHING) for user, seen in found.items()}


def _viewable_by_halves(pairs: list[tuple[type_of_user, str]]) -> dict[type_of_user, Viewable]:
    answers: dict[type_of_user, Viewable] = {user: (NOTHING, NOTHING) for user, _ in pairs}
    for half in pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]:
        wanted: dict[type_of_user, list[str]] = {}
        for user, job_id in half:
            wanted.setdefault(user, []).append(job_id)
        for user, (seen, undecided) in viewable(wanted).items():
            answers[user] = answers[user][0] | seen, answers[user][1] | undecided
    return answers


def newest(users: Collection[type_of_user], limit: int, *, own: bool) -> dict[type_of_user, list[str]]:
    """Ask the policy for the newest jobs that each user may see, without the users for whom it raises.

    Raises:
        OperationalError: The database does not answer.

    """
    try:
        return policy().newest(users, limit, own=own)
    except UNAVAILABLE:
        raise
    except Exception as error:
        if len(users) > 1:
            return {user: found for one in users for user, found in newest([one], limit, own=own).items()}
        logger.warning("The access policy can't tell the newest jobs of a user: %r", error)
        return {}


def _newest_first(jobs: "Iterable[ProcessingJob]") -> list[ProcessingJob]:
    return list({job.pk: job for job in sorted(jobs, key=lambda job: job.created_at, reverse=True)}.values())


def _ids(jobs: "Iterable[ProcessingJob]") -> list[str]:
    return [job.pk for job in jobs]


def _pieces(job_ids: Collection[str]) -> Iterator[list[str]]:
    return batched(job_ids, most_ids(database_alias()))


@checks.register()
def check_policy(**_: Any) -> list[checks.CheckMessage]:
    """Check at start that the policy can be made and is one: what a subclass leaves out, it inherits."""
    path = getattr(settings, "JOBS_ACCESS_POLICY", DEFAULT)
    try:
        made = policy()
    except Exception as error:  # whatever the import of foreign code may raise
        return [checks.Error(f"JOBS_ACCESS_POLICY = {path!r} can't be used: {error}", id="jobs.E001")]
    if not isinstance(made, AccessPolicy):
        return [checks.Error(f"JOBS_ACCESS_POLICY = {path!r} must be a subclass of {DEFAULT}.", id="jobs.E002")]
    return []

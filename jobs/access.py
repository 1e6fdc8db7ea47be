"""Who may see which job: the one hook that WebSockets, pages and the admin ask.

Replace the policy by naming a subclass of `AccessPolicy` in ``JOBS_ACCESS_POLICY``.
"""

import contextlib
from functools import reduce
from operator import or_
from typing import Any

from django.conf import settings
from django.contrib.auth import get_permission_codename
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.checks import CheckMessage, Error, register
from django.db.models import Q, QuerySet
from django.utils.module_loading import import_string

from .models import ProcessingJob, readable

type_of_user = AbstractBaseUser | AnonymousUser

DEFAULT = f"{__name__}.AccessPolicy"
VIEW_PERMISSION = f"{ProcessingJob._meta.app_label}.{get_permission_codename('view', ProcessingJob._meta)}"


class AccessPolicy:
    """A job is seen by its owner, by staff with the permission to view jobs, and if public by anyone.

    The two methods must agree: ``visible`` is ``may_view`` as a query. Both run in a thread where
    the database may be used.
    """

    def may_view(self, user: type_of_user, job: ProcessingJob) -> bool:
        """Return whether ``user`` may see ``job``."""
        return job.public or (user.is_authenticated and job.owner_id == user.pk) or self._sees_all(user)

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
        newest = {job.pk: job for job in sorted(found, key=lambda job: job.created_at, reverse=True)}
        return list(newest.values())[:limit]

    def _ways(self, user: type_of_user) -> list[Q]:
        return [Q(public=True), *([Q(owner_id=user.pk)] if user.is_authenticated else [])]

    def _sees_all(self, user: type_of_user) -> bool:
        # A user model need not say who is staff; then its superusers are.
        is_staff = getattr(user, "is_staff", getattr(user, "is_superuser", False))
        return bool(
            user.is_active and is_staff and user.has_perm(VIEW_PERMISSION)  # type: ignore[attr-defined]  # a staff user has permissions
        )


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


@register()
def check_policy(**_: Any) -> list[CheckMessage]:
    """Check at start that the policy can be made and is one: what a subclass leaves out, it inherits."""
    path = getattr(settings, "JOBS_ACCESS_POLICY", DEFAULT)
    try:
        made = policy()
    except Exception as error:  # whatever the import of foreign code may raise
        return [Error(f"JOBS_ACCESS_POLICY = {path!r} can't be used: {error}", id="jobs.E001")]
    if not isinstance(made, AccessPolicy):
        return [Error(f"JOBS_ACCESS_POLICY = {path!r} must be a subclass of {DEFAULT}.", id="jobs.E002")]
    return []

"""What somebody did to a job, kept beside the log: written with the change, or not at all."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple, Self

from django.contrib.auth import get_user_model
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from .actors import Actor, By, actor_of
from .models import JobAction, ProcessingJob
from .states import ActionKind

MAX_ID = 64  # characters of an id that are kept; a beginning of one may have a ``*`` more


class Action(NamedTuple):
    """Something that somebody does: what, who, and in words what is to be known of it besides."""

    kind: ActionKind
    actor: Actor
    detail: str = ""

    @classmethod
    def of(cls, kind: ActionKind, by: By, detail: str = "") -> Self:
        """Return the action.

        Raises:
            InvalidValue: ``by`` is nobody who could be named.

        """
        return cls(kind, actor_of(by), detail)

    def record(
        self, connection: BaseDatabaseWrapper, before: ProcessingJob, after: ProcessingJob, at: datetime
    ) -> None:
        """Keep the action: called within the transaction of the change.

        Args:
            connection: Where the change is written.
            before: The job as it was.
            after: The job as it is now; the same, if it is to be deleted.
            at: When.

        """
        kind, name, user_id = self.actor
        detail = self.detail if before is after else self.detail or edit_in_words(before, after)
        shown = {"detail": detail, "job_id": after.pk, "seq": after.seq}
        done = JobAction(time=at, action=self.kind, kind=kind, actor=name, user_id=user_id, **shown)
        done.save(force_insert=True, using=connection.alias)


def record_of_token(kind: ActionKind, by: By, job_ids: Collection[str], detail: str) -> None:
    """Keep what is done to a token: with each job that it names, or once if it names none.

    Args:
        kind: What is done.
        by: Who does it.
        job_ids: Which jobs it names; beginnings of ids as well.
        detail: Which token it is, in words.

    Raises:
        InvalidValue: ``by`` is nobody who could be named.

    """
    actor, alias = actor_of(by), router.db_for_write(JobAction)
    who = {"kind": actor.kind, "actor": actor.name, "user_id": actor.user_id}
    shown = {"time": timezone.now(), "action": kind, "detail": detail, **who}
    rows = [JobAction(job_id=job_id[:MAX_ID], **shown) for job_id in job_ids or ("",)]
    JobAction.objects.using(alias).bulk_create(rows)


def edit_in_words(before: ProcessingJob, after: ProcessingJob) -> str:
    """Return what an edit changes, such as «public: no → yes»."""
    changes = []
    if before.name != after.name:
        changes.append(f"name: {before.name!r} → {after.name!r}")
    if before.owner_id != after.owner_id:
        changes.append(f"owner: {_user_in_words(before)} → {_user_in_words(after)}")
    if before.public != after.public:
        changes.append(f"public: {_yes(before.public)} → {_yes(after.public)}")
    if before.keep != after.keep:
        changes.append(f"keep: {_yes(before.keep)} → {_yes(after.keep)}")
    return "; ".join(changes)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _user_in_words(job: ProcessingJob) -> str:
    if job.owner_id is None:
        return "nobody"
    users = get_user_model()._default_manager.using(job._state.db).filter(pk=job.owner_id)
    user = users.first()
    return str(job.owner_id) if user is None else repr(user.get_username())

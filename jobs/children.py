"""Jobs that are parts of another one: how far that brings their parent, and who is told.

A parent is as far as its children: the sum of weight times percentage, over the sum of the weights. A child that has
ended counts 100, however it ended, and one whose progress is unknown 0. A child that ended before the parent's present
attempt began was a part of an earlier one, and does not count.

A parent is looked at after a child's change has committed. Its row is locked first, and only then are its children
read: of two who look at once, the later one sees all that the earlier one saw, so the last child's end is never lost.
"""

import logging
from collections.abc import Collection
from functools import partial
from typing import Any, NamedTuple

from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, Count, F, FloatField, Q, Sum, Value, When

from . import changes, database, validation
from .batches import MAX_IDS, batched
from .changes import Change
from .database import connection_to_write, jobs_as_written, with_retries
from .locked import locked, write_decided
from .looks import Looks
from .models import ProcessingJob, ProcessingJobQuerySet
from .states import TERMINAL, Status

logger = logging.getLogger(__name__)

LEAST_PERCENT = 1e-6  # less is nothing


class Share(NamedTuple):
    """How far a parent's children are."""

    number: int
    percent: float


def children_of(alias: str, parent_ids: Collection[str]) -> ProcessingJobQuerySet:
    """Return the children of some jobs, but not those of jobs that had the same ids before them."""
    jobs: ProcessingJobQuerySet = ProcessingJob.objects.using(alias)
    return jobs.filter(parent__in=parent_ids, created_at__gte=F("parent__created_at"))


def shares(alias: str, parent_ids: Collection[str]) -> dict[str, Share]:
    """Return how far the children of each of some jobs are, in one query; of one without children nothing."""
    # Nothing that an import may have stored fails the query: NaN, or so little that PostgreSQL would not multiply it.
    weight = Case(When(weight__range=validation.WEIGHTS_OF_CHILDREN, then="weight"), default=Value(1.0))
    is_of_attempt = Q(finished_at=None) | Q(parent__attempt=1) | Q(finished_at__gte=F("parent__queued_at"))
    done = Case(
        When(status__in=TERMINAL, then=Value(100.0)),
        When(progress__range=(LEAST_PERCENT, 100.0), then="progress"),
        default=Value(0.0),
        output_field=FloatField(),
    )
    rows = (
        children_of(alias, parent_ids)
        .filter(is_of_attempt)
        .order_by()
        .values("parent_id")
        .annotate(
            number=Count("pk"),
            left=Count("pk", filter=~Q(status__in=TERMINAL)),
            done=Sum(weight * done),
            whole=Sum(weight),
        )
    )
    return {
        row["parent_id"]: Share(row["number"], min(row["done"] / row["whole"], 100) if row["left"] else 100)
        for row in rows
    }


def roll_up(parent_ids: Collection[str], *, waits: bool = False) -> list[str]:
    """Have parents that have not ended show how far their children are; nothing is written where that is so already.

    Args:
        parent_ids: Their ids; one that is no parent, or no job any more, is passed over.
        waits: Whether to wait, for a second, where somebody else holds a row; else that one is passed over.

    Returns:
        The ids of the jobs whose rows were held, or that are gone: of the former, look again.

    Raises:
        Error: The database does not answer, or a row is held for too long.

    """
    held: list[str] = []
    for some in batched(sorted(parent_ids), MAX_IDS):
        try:
            held += with_retries(partial(_roll_up, some, waits))
        except Error:
            raise
        except Exception as error:  # whatever is wrong with a row, it harms its own job only
            if len(some) > 1:
                held += (each for one in some for each in roll_up([one], waits=waits))
            else:
                logger.warning("Job %s can't show how far its children are: %r", some[0], error)
    return held


def _roll_up(parent_ids: list[str], waits: bool, connection: BaseDatabaseWrapper) -> list[str]:
    with transaction.atomic(using=connection.alias):
        parents = locked(connection, parent_ids, waits=waits)
        moving = [pk for pk, parent in parents.items() if not parent.is_finished]
        found, now = shares(connection.alias, moving), database.now(connection)

        def decide(parent: ProcessingJob) -> Change | None:
            share = found.get(parent.pk, Share(0, 0.0))
            return changes.rolled_up(parent, share.number, share.percent, now)

        for write in write_decided(connection, parents.values(), decide):
            tell_parents(connection, write.before, write.after)
    return [parent_id for parent_id in parent_ids if parent_id not in parents]


# Who is told


def tell_parents(connection: BaseDatabaseWrapper, before: ProcessingJob, after: ProcessingJob) -> None:
    """Once a change is committed, have the job's parent looked at if it moved; and itself, if it begins with children.

    A parent that begins may have children that have ended, of which nobody would tell any more.
    """
    if after.parent_id is not None and (after.progress != before.progress or after.status != before.status):
        connection.on_commit(partial(moved, after.parent_id, at_once=after.is_finished), robust=True)
    if changes.CHILD_JOBS in after.metadata and after.status == Status.IN_PROGRESS != before.status:
        connection.on_commit(partial(moved, after.pk, at_once=True), robust=True)


def moved(parent_id: str, *, at_once: bool = False) -> None:
    """Have a parent looked at: now, or soon by a thread, as also where that is not possible now."""
    connection: Any = connection_to_write()
    # What nobody else can look into: the transaction of a test, or what is in this process's memory.
    is_hidden = connection.in_atomic_block or (connection.vendor == "sqlite" and connection.is_in_memory_db())
    if at_once or is_hidden:
        try:
            roll_up([parent_id], waits=True)
            return
        except Error as error:
            if is_hidden:
                raise
            logger.info("Job %r can't be told of its children now: %s", parent_id, error)
    soon.mark(parent_id)


def _look(parent_ids: Collection[str]) -> list[str]:
    held = roll_up(parent_ids)
    return list(jobs_as_written().filter(pk__in=held).values_list("pk", flat=True)) if held else []


soon = Looks(_look)  # at the parents whose children have moved

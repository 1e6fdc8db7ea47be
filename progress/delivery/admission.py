"""Who may watch a job: asked of the access policy, on the job's row as it is now.

It is asked when a subscription begins. When the job's owner or visibility changes, the subscription is stopped, asked
about again, and resumed from where it was. If the policy raises, the client gets ``unavailable``.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ..broker.places import Places
from ..conf import conf
from ..identity.rights import Rights, may_view
from ..protocol.exceptions import job_not_found, unavailable
from ..protocol.position import Position
from . import reads
from .log_reader import LogReader
from .recovery import Recovery
from .subscription import Subscription
from .watched_job import WatchedJob

if TYPE_CHECKING:
    from ..source.store import ProcessingJob

logger = logging.getLogger(__name__)


async def admit(
    reader: LogReader,
    places: Places,
    job: WatchedJob,
    subscription: Subscription,
    since: Position | None,
    join: Callable[[], Awaitable[None]] | None,
) -> None:
    """Let a connection watch a job: it is sent what it missed since a position, or a snapshot, then every event.

    What is long is sent chunk by chunk, each when the connection has room. The last chunk is sent together with the
    snapshot, and from then on the subscription is live.

    Args:
        reader: Reads the job.
        places: Who gives a place among its watchers.
        job: The job.
        subscription: Whose.
        since: The position; None for a snapshot.
        join: Joins the job's group of the channel layer; None where that was done before.

    Raises:
        Refused: There is no such job, it is not for this user, it can't be read now, too many watch it, or the
            log has changed under a replay.

    """
    recovery = Recovery(job, subscription, since, reader.turns)
    try:
        await _admit(reader, places, job, subscription, recovery, join)
    finally:
        recovery.end()


async def _admit(
    reader: LogReader,
    places: Places,
    job: WatchedJob,
    subscription: Subscription,
    recovery: Recovery,
    join: Callable[[], Awaitable[None]] | None,
) -> None:
    loop = asyncio.get_running_loop()
    facts, asked_at, doubts = None, 0.0, 0
    while True:
        await reader.refresh(job)
        if facts is None or (job.facts, job.doubts) != (facts, doubts) or loop.time() - asked_at >= conf.ACCESS_SECONDS:
            facts, doubts = job.facts, job.doubts
            await _require_access(job, subscription)
            asked_at = loop.time()
        if subscription.places is None:
            await subscription.take_place(places, job.job_id)
        if join is not None:  # so late, since ids that lead nowhere shall cost no more than a share of a query
            await join()
            join = None
            continue  # join, then read
        while job.facts == facts and not recovery.is_ahead:
            await recovery.read()
            await subscription.connection.ready()
            if (job.facts, job.doubts) != (facts, doubts) or loop.time() - asked_at >= conf.ACCESS_SECONDS:
                break  # the policy's answer may be out of date; what was read is kept
            # From here on nothing is awaited: no event can come between the answer and what follows it.
            if not job.is_wanted(subscription) or recovery.send():
                return


def _may_view(rights: Rights, row: "ProcessingJob | None", job_id: str) -> bool | None:
    """Return whether a client may watch a job; None where the policy can't say."""
    try:
        return may_view(rights, row)
    except Exception as error:
        logger.warning("The access policy can't decide on job %s: %r", job_id, error)
        return None


async def _require_access(job: WatchedJob, subscription: Subscription) -> None:
    """Ask whether a client may watch a job; once for all connections of a user, with equal tokens, that ask together.

    Raises:
        Refused: They may not, or the policy can't say now.

    """
    row, rights = job.row, subscription.connection.identity.rights
    # By identity and not equality: the same user, read twice, may have got other rights meanwhile.
    key = id(row), id(rights.user), rights.grant
    answer = await job.asking.once(key, lambda: reads.in_thread(_may_view, rights, row, job.job_id))
    if answer is None:
        raise unavailable(job.job_id)
    if not answer or row is None:
        raise job_not_found(job.job_id)

"""Access on open connections, asked again every few seconds: what decides it may change in any table, by any means.

Who a client is and what it may see were read when it came. The guard reads them again for all connections together, in
a few queries: a session that has ended, a new password, a user who was deactivated or deleted end the connection; a job
that its user may no longer see ends the subscription. What is asked for later is decided on the user as read last.

It asks in pieces. Where a backend or a session engine of the host's own fails, its clients are left as they are until
the next time; where a policy fails, the subscription ends as ``unavailable``. All others are answered all the same.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError

from ..conf import conf
from ..identity.identity import Identity
from ..identity.renewal import renewed
from ..protocol import frames
from ..protocol.codes import CloseCode
from ..protocol.exceptions import Refused, job_not_found, unavailable
from ..source.store import access, type_of_user
from ..source.vocabulary import MAX_IDS, batched
from . import reads
from .connection import Connection
from .feed import Feed
from .subscription import Subscription
from .watched_job import WatchedJob

logger = logging.getLogger(__name__)

A = TypeVar("A")
K = TypeVar("K")
T = TypeVar("T")

CONNECTIONS_A_TURN = 250  # looked at before others have their turn, some 2 ms of work

# A browser may hold a new session by now, so it comes back; a token stays what it is.
ENDED = {"session": CloseCode.TOKEN_EXPIRED, "token": CloseCode.NOT_AUTHENTICATED}

Watched = dict[str, Subscription | None]  # by job; None where only a feed has shown it


class AccessGuard:
    """Ends what is no longer allowed.

    Args:
        connections: All of the process, as the hub keeps them.
        jobs: The watched jobs by their ids, as the hub keeps them.
        feed: The feeds of the process.

    """

    def __init__(self, connections: Collection[Connection], jobs: Mapping[str, WatchedJob], feed: Feed) -> None:
        self._connections = connections
        self._jobs = jobs
        self._feed = feed

    async def run(self) -> None:
        """Ask for as long as anybody is there.

        Raises:
            OperationalError: The database does not answer; nothing has ended by that.

        """
        while True:
            await asyncio.sleep(conf.ACCESS_SECONDS)
            await self.check()

    async def check(self, connections: Collection[Connection] | None = None) -> None:
        """Ask once, about all connections or these, and act on the answers."""
        asked = list(self._connections if connections is None else connections)
        await self._renew(asked)
        await self._ask(asked)

    # Who they are

    async def _renew(self, connections: Collection[Connection]) -> None:
        """Take their users as they are now, and close those whose session or token no longer holds."""
        identities = {proof: each.identity for each in connections if (proof := each.identity.proof) is not None}
        users = await _answers(renewed, identities, lambda piece: [identity for _, identity in piece])
        for turn in batched(connections, CONNECTIONS_A_TURN):
            for connection in turn:
                _, expires, proof = connection.identity
                if proof is None or proof not in users:
                    continue  # it can't be said, or it has sent another token meanwhile
                if users[proof] is None:
                    logger.info("The %s of a client has ended", proof.kind)
                    connection.close(ENDED[proof.kind])
                else:
                    connection.identity = Identity(users[proof], expires, proof)
                    self._feed.renew(connection)
            await asyncio.sleep(0)

    # What they may see

    async def _ask(self, connections: Collection[Connection]) -> None:
        """Ask the policy about all that they watch or are shown, and end what they may not see."""
        watched: dict[Connection, Watched] = {}
        # Users of one backend by their keys: another's may know the same user with other rights.
        wanted: dict[str, dict[type_of_user, set[str]]] = {}
        for turn in batched(connections, CONNECTIONS_A_TURN):
            for connection in turn:
                if connection.is_accepting and (jobs := self._watched(connection)):
                    watched[connection] = jobs
                    users = wanted.setdefault(_backend(connection.identity), {})
                    users.setdefault(connection.identity.user, set()).update(jobs)
            await asyncio.sleep(0)
        answers = {backend: await _answers(access.viewable, users, dict) for backend, users in wanted.items()}
        for some in batched(watched.items(), CONNECTIONS_A_TURN):
            for connection, jobs in some:
                answer = answers.get(_backend(connection.identity), {}).get(connection.identity.user)
                if answer is not None and connection.is_accepting:
                    self._end_all(connection, jobs, *answer)
            await asyncio.sleep(0)

    def _watched(self, connection: Connection) -> Watched:
        job_ids = (*connection.watched, *self._feed.shown_to(connection))
        return {job_id: self._subscription(connection, job_id) for job_id in job_ids}

    def _subscription(self, connection: Connection, job_id: str) -> Subscription | None:
        job = self._jobs.get(job_id)
        return None if job is None else job.subscriptions.get(connection)

    def _end_all(self, connection: Connection, asked: Watched, seen: set[str], undecided: set[str]) -> None:
        for job_id in asked.keys() - seen:
            if self._subscription(connection, job_id) is not asked[job_id]:
                continue  # admitted meanwhile, on what is newer
            self._end(connection, job_id, unavailable(job_id) if job_id in undecided else job_not_found(job_id))

    def _end(self, connection: Connection, job_id: str, refused: Refused) -> None:
        """End a subscription, and have the job leave the lists that show it."""
        subscription = self._subscription(connection, job_id)
        if subscription is not None:
            self._jobs[job_id].turn_away(subscription, refused)
        elif not refused.temporary and job_id in self._feed.shown_to(connection):
            connection.send(frames.error(refused))
        if not refused.temporary:
            self._feed.hide(connection, job_id)


def _backend(identity: Identity) -> str:
    return "" if identity.proof is None else identity.proof.backend


async def _answers(
    ask: Callable[[Any], Mapping[K, A]], wanted: Mapping[K, T], argument: Callable[[list[tuple[K, T]]], Any]
) -> dict[K, A]:
    """Ask in pieces, in a thread; leave out those of a piece that fails for another reason than a silent database."""
    answers: dict[K, A] = {}
    for piece in batched(wanted.items(), MAX_IDS):
        try:
            answers.update(await reads.in_thread(ask, argument(piece)))
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            logger.exception("Access can't be asked for again")
    return answers

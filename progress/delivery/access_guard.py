"""Access on open connections, asked again every few seconds: what decides it may change in any table, by any means.

Who a client is and what it may see were read when it came. The guard reads them again for all connections together, in
a few queries: a session that has ended, a new password, a user who was deactivated or deleted end the connection; a job
that its user may no longer see ends the subscription. A later subscription is decided on the user as read last here.

Where a backend or a session engine of the host's own fails, its clients are left as they are until the next time; where
a policy fails, the subscription ends as ``unavailable``. All others are answered all the same.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Generic, NamedTuple, TypeVar

from django.db import InterfaceError, OperationalError

from ..conf import conf
from ..identity.identity import Identity
from ..identity.recheck import recheck
from ..identity.rights import Rights, viewable
from ..protocol import frames
from ..protocol.codes import CloseCode
from ..protocol.exceptions import Refused, job_not_found, unavailable
from ..source.vocabulary import MAX_IDS, batched
from . import reads
from .connection import Connection
from .feed import Feed
from .subscription import Subscription
from .watched_job import WatchedJob

logger = logging.getLogger(__name__)

A = TypeVar("A")
K = TypeVar("K")
V = TypeVar("V")

CONNECTIONS_A_TURN = 250  # looked at before others have their turn, some 2 ms of work
QUICK_SECONDS, SLOW_SECONDS = 0.25, 1.0  # of a visit to the database, by which the next is to take more, or less

# A browser may hold a new session by now, so it comes back; a token stays what it is.
ENDED = {"session": CloseCode.TOKEN_EXPIRED, "token": CloseCode.NOT_AUTHENTICATED}


class Questions(Generic[K, V, A]):
    """One question about many, in as many visits to the database as it takes, of which none may take long.

    A backend, a session engine or a policy of the host's own may be asked for each, and be slow: then fewer are asked
    about in a visit, this time or the next.

    Args:
        ask: Answers about some, in a thread; those that it can't answer about it leaves out.

    """

    def __init__(self, ask: Callable[[dict[K, V]], Mapping[K, A]]) -> None:
        self._ask = ask
        self._size = MAX_IDS

    async def answers(self, wanted: Mapping[K, V]) -> dict[K, A]:
        """Return the answers that there are.

        Raises:
            OperationalError: The database does not answer, or so many took too long.

        """
        answers: dict[K, A] = {}
        loop, rest = asyncio.get_running_loop(), list(wanted.items())
        while rest:
            batch, rest = dict(rest[: self._size]), rest[self._size :]
            began = loop.time()
            try:
                answers.update(await reads.in_thread(self._ask, batch))
            except (OperationalError, InterfaceError):
                self._size = max(1, len(batch) // 10)
                raise
            except Exception:
                logger.exception("Access can't be asked for again")
            took = loop.time() - began
            if took > SLOW_SECONDS:
                self._size = max(1, len(batch) // 2)
            elif took < QUICK_SECONDS:
                self._size = min(MAX_IDS, self._size * 2)
        return answers


class Shown(NamedTuple):
    """What a connection is shown, and to whom."""

    identity: Identity
    jobs: dict[str, Subscription | None]  # None for a job that only a feed has shown


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
        self._users = Questions(recheck)
        self._views = Questions(viewable)

    async def run(self) -> None:
        """Check every ``PROGRESS_ACCESS_SECONDS``, until cancelled.

        Raises:
            OperationalError: The database does not answer; nothing has ended by that.

        """
        while True:
            await asyncio.sleep(conf.ACCESS_SECONDS)
            await self.check()

    async def check(self, connections: Collection[Connection] | None = None) -> None:
        """Ask once, about all connections or these, and act on the answers."""
        asked = self._connections if connections is None else connections
        present = [each for each in asked if each.is_accepting]
        await self._check_who_they_are(present)
        await self._check_what_they_see(present)

    async def _check_who_they_are(self, connections: Collection[Connection]) -> None:
        """Take their users as they are now, and close those whose session or token no longer holds."""
        known = {proof: user for user, _, proof in (each.identity for each in connections) if proof is not None}
        users = await self._users.answers(known)
        for turn in batched(connections, CONNECTIONS_A_TURN):
            for connection in turn:
                _, expires, proof = connection.identity
                if proof is None or proof not in users:
                    continue  # nothing to check, or it could not be checked, or it was replaced meanwhile
                if users[proof] is None:
                    logger.info("The %s of a client has ended", proof.kind)
                    connection.close(ENDED[proof.kind])
                else:
                    connection.identity = Identity(users[proof], expires, proof)
            await asyncio.sleep(0)

    async def _check_what_they_see(self, connections: Collection[Connection]) -> None:
        """Ask the policy about all that they watch or are shown, and end what they may not see."""
        shown: dict[Connection, Shown] = {}
        # By backend: the users of one are told apart by their keys, but another may know them with other rights.
        wanted: dict[str, dict[Rights, set[str]]] = {}
        for turn in batched(connections, CONNECTIONS_A_TURN):
            for connection in turn:
                if connection.is_accepting and (jobs := self._shown_to(connection)):
                    identity = connection.identity
                    shown[connection] = Shown(identity, jobs)
                    wanted.setdefault(_backend(identity), {}).setdefault(identity.rights, set()).update(jobs)
            await asyncio.sleep(0)
        answers = {backend: await self._views.answers(asked) for backend, asked in wanted.items()}
        for some in batched(shown.items(), CONNECTIONS_A_TURN):
            for connection, (identity, jobs) in some:
                answer = answers[_backend(identity)].get(identity.rights)
                if answer is not None and connection.identity.proof == identity.proof and connection.is_accepting:
                    self._end_unseen(connection, jobs, *answer)
            await asyncio.sleep(0)

    def _shown_to(self, connection: Connection) -> dict[str, Subscription | None]:
        job_ids = (*connection.watched, *self._feed.shown_to(connection))
        return {job_id: self._subscription(connection, job_id) for job_id in job_ids}

    def _subscription(self, connection: Connection, job_id: str) -> Subscription | None:
        job = self._jobs.get(job_id)
        return None if job is None else job.subscriptions.get(connection)

    def _end_unseen(
        self, connection: Connection, jobs: Mapping[str, Subscription | None], seen: set[str], undecided: set[str]
    ) -> None:
        for job_id in jobs.keys() - seen:
            if self._subscription(connection, job_id) is not jobs[job_id]:
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
            self._feed.forget(connection, job_id)


def _backend(identity: Identity) -> str:
    return "" if identity.proof is None else identity.proof.backend

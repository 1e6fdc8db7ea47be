"""Access on open connections, asked again every few seconds: what decides it may change in any table, by any means.

Who a client is and what it may see were read when it came. The guard reads them again for all connections together, in
a few queries: a session that has ended, a new password, a user who was deactivated or deleted end the connection; a job
that its user may no longer see ends the subscription. A later subscription is decided on the user as read last here.

Where a backend or a session engine of the host's own fails, its clients are left as they are until the next time; where
a policy fails, the subscription ends as ``unavailable``. All others are answered all the same.
"""

import asyncio
import contextlib
import logging
from collections.abc import Collection, Hashable, Mapping, Set
from typing import Any

from django.db import Error

from ..conf import conf
from ..identity.identity import Identity, Proof
from ..identity.recheck import recheck
from ..identity.rights import Rights, newest, viewable
from ..identity.stored_users import lend
from ..protocol import frames
from ..protocol.codes import CloseCode
from ..protocol.exceptions import Refused, job_not_found, unavailable
from ..protocol.frames import FeedName
from ..source.store import UNAVAILABLE
from ..source.vocabulary import batched
from .connection import Connection
from .feed import Feed
from .garbage import no_collections
from .questions import Questions
from .subscription import Subscription
from .watched_job import WatchedJob

logger = logging.getLogger(__name__)

CONNECTIONS_A_TURN = 500  # looked at before others have their turn, some 1 ms of work
FEEDS_A_CHECK = 250  # of different users: each may take a query, some 0.3 ms
HURRY_SECONDS = 0.1  # after word of a change, for those that come with it: who signs out is told of before it is done
PAUSE_SECONDS = 0.5  # between two checks, however many changes there are word of

# A browser may hold a new session by now, so it comes back; a token stays what it is.
ENDED = {"session": CloseCode.TOKEN_EXPIRED, "token": CloseCode.NOT_AUTHENTICATED}


UNCLEAR: Any = object()  # who a client is now
NOTHING: frozenset[str] = frozenset()
FeedOf = tuple[str, FeedName, Rights]  # one for all connections of a user of a backend, with equal tokens


class AccessGuard:
    """Ends what is no longer allowed, and has feeds show what is allowed newly.

    Args:
        connections: All of the process, as the hub keeps them.
        jobs: The watched jobs by their ids, as the hub keeps them.
        feed: The feeds of the process.

    """

    def __init__(self, connections: Collection[Connection], jobs: Mapping[str, WatchedJob], feed: Feed) -> None:
        self._connections = connections
        self._jobs = jobs
        self._feed = feed
        self._users: dict[str, Questions[Proof, Any, Any]] = {}  # by backend, of which one may be slow, or hang
        self._views: Questions[Hashable, tuple[Rights, Set[str]], tuple[Set[str], Set[str]]] = Questions(viewable)
        self._recent: Questions[FeedOf, None, list[str]] = Questions(_newest)
        self._feed_turn = 0  # of the next check: which of many feeds is the first to be asked about
        self._is_hurried = asyncio.Event()

    def hurry(self) -> None:
        """Have the next check come soon, since access has changed somewhere; what has changed, it finds by itself."""
        self._is_hurried.set()

    async def run(self) -> None:
        """Check every ``PROGRESS_ACCESS_SECONDS``, and soon after each `hurry`, until cancelled.

        Raises:
            OperationalError: The database does not answer; nothing has ended by that.

        """
        loop = asyncio.get_running_loop()
        began = ended = loop.time()
        while True:
            await self._until_due(ended + PAUSE_SECONDS, max(ended + PAUSE_SECONDS, began + conf.ACCESS_SECONDS))
            began = loop.time()
            await self.check()
            ended = loop.time()

    async def _until_due(self, earliest: float, due: float) -> None:
        """Wait until a time of the loop's clock; once it is hurried, only a moment longer, but until ``earliest``."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._is_hurried.wait()
                await asyncio.sleep(max(HURRY_SECONDS, earliest - loop.time()))
                self._is_hurried.clear()  # not if it is time for a check by now: that may be too early for this change

    async def check(self, connections: Collection[Connection] | None = None) -> None:
        """Ask once, about all connections or these, and act on the answers."""
        asked = self._connections if connections is None else connections
        present = [each for each in asked if each.is_accepting]
        try:
            with no_collections():
                await self._check_who_they_are(present)
                await self._check_what_they_see(present)
        except BaseException:
            for connection in present:
                lend(connection.identity.user)  # a thread that did not return may go on
            raise
        await self._show_what_is_new(present)

    async def _check_who_they_are(self, connections: Collection[Connection]) -> None:
        """Take their users as they are now, and close those whose session or token no longer holds."""
        identities = {id(each.identity): each.identity for each in connections}  # as many as there are proofs, or more
        users = await self._users_as_they_are(identities.values())
        changed: dict[int, Identity | None] = {}
        of_proof: dict[Proof, Identity] = {}
        for key, before in identities.items():
            user, expires, proof = before
            now = UNCLEAR if proof is None else users.get(proof, UNCLEAR)
            if proof is None or now is UNCLEAR:
                continue  # nothing to check, or it could not be checked
            if now is None:
                changed[key] = None
                continue
            identity = of_proof.get(proof)
            if identity is None or identity.expires != expires:
                identity = of_proof[proof] = before if now is user else Identity(now, expires, proof)
            if identity is not before:
                changed[key] = identity
        if changed:
            await self._change(connections, changed)  # while `identities` keeps them: no other has the id of one

    async def _change(
        self,
        connections: Collection[Connection],
        changed: Mapping[int, Identity | None],
    ) -> None:
        for turn in batched(connections, CONNECTIONS_A_TURN):
            for connection in turn:
                before = connection.identity
                identity = changed.get(id(before), before)
                if identity is None:
                    assert before.proof is not None
                    logger.info("The %s of a client has ended", before.proof.kind)
                    connection.close(ENDED[before.proof.kind])
                else:
                    connection.identity = identity
            await asyncio.sleep(0)

    async def _users_as_they_are(self, identities: Collection[Identity]) -> dict[Proof, Any]:
        """Return the user of each proof as they are now; without those whose backend does not answer, if another does.

        Raises:
            OperationalError: None does, so that it is the database.

        """
        known: dict[str, dict[Proof, Any]] = {}
        for user, _, proof in identities:
            if proof is not None:
                if proof.backend not in known:
                    known[proof.backend] = {}
                known[proof.backend].setdefault(proof, user)
        users: dict[Proof, Any] = {}
        silent: Error | None = None
        for backend, some in known.items():
            try:
                users |= await self._users.setdefault(backend, Questions(recheck)).answers(some)
            except UNAVAILABLE as error:
                silent = error
                for user in some.values():
                    lend(user)
        if silent is not None:
            if not users:
                raise silent
            logger.warning("Some users can't be checked now: %s", silent)
        return users

    async def _check_what_they_see(self, connections: Collection[Connection]) -> None:
        """Ask the policy about all that they watch or are shown, and end what they may not see."""
        # By backend: the users of one are told apart by their keys, but another may know them with other rights.
        wanted: dict[str, dict[Hashable, tuple[Rights, set[str]]]] = {}
        asked: set[Subscription | None] = set()
        for turn in batched(connections, CONNECTIONS_A_TURN):
            for connection in turn:
                if connection.is_accepting and (job_ids := self._shown_to(connection)):
                    identity = connection.identity
                    backend, key = _backend(identity), identity.key
                    if backend not in wanted:
                        wanted[backend] = {}
                    if key not in wanted[backend]:
                        wanted[backend][key] = identity.rights, set()
                    wanted[backend][key][1].update(job_ids)
                    for job_id in connection.watched:
                        asked.add(self._subscription(connection, job_id))
            await asyncio.sleep(0)
        unseen: dict[Hashable, tuple[set[str], Set[str]]] = {}
        for of_backend in wanted.values():
            answers = await self._views.answers(of_backend)
            for some in batched(answers.items(), CONNECTIONS_A_TURN):
                for key, (seen, undecided) in some:
                    if not of_backend[key][1] <= seen:
                        unseen[key] = of_backend[key][1] - seen, undecided
                await asyncio.sleep(0)
        if unseen:
            await self._end_unseen(connections, unseen, asked)

    async def _end_unseen(
        self,
        connections: Collection[Connection],
        unseen: Mapping[Hashable, tuple[set[str], Set[str]]],
        asked: Set[Subscription | None],
    ) -> None:
        """End what was asked about; what was admitted meanwhile was so on what is newer."""
        for turn in batched(connections, CONNECTIONS_A_TURN):
            for connection in turn:
                hidden, undecided = unseen.get(connection.identity.key, (NOTHING, NOTHING))
                if not hidden or not connection.is_accepting:
                    continue
                for job_id in [each for each in self._shown_to(connection) if each in hidden]:
                    subscription = self._subscription(connection, job_id)
                    if subscription is None or subscription in asked:
                        refused = unavailable(job_id) if job_id in undecided else job_not_found(job_id)
                        self._end(connection, job_id, refused)
            await asyncio.sleep(0)

    async def _show_what_is_new(self, connections: Collection[Connection]) -> None:
        """Have feeds show what their users may see newly, of the jobs that the first frame would hold."""
        if not self._feed.is_watched:
            return
        watchers: dict[FeedOf, list[Connection]] = {}
        for turn in batched(connections, CONNECTIONS_A_TURN):
            for connection in turn:
                for name in self._feed.names_of(connection):
                    key = _backend(connection.identity), name, connection.identity.rights
                    watchers.setdefault(key, []).append(connection)
            await asyncio.sleep(0)
        asked = self._in_turn(list(watchers))
        answers = await self._recent.answers(dict.fromkeys(asked))
        for key, recent in answers.items():
            for connection in watchers[key]:
                self._feed.owe(connection, key[1], recent)  # which asks the policy before anything is sent

    def _in_turn(self, feeds: list[FeedOf]) -> list[FeedOf]:
        """Return as many feeds as are asked about in one check, and others in the next."""
        if len(feeds) <= FEEDS_A_CHECK:
            return feeds
        first = self._feed_turn % len(feeds)
        self._feed_turn = first + FEEDS_A_CHECK
        return [*feeds[first:], *feeds[:first]][:FEEDS_A_CHECK]

    def _shown_to(self, connection: Connection) -> Collection[str]:
        if self._feed.is_watched and (job_ids := self._feed.shown_to(connection)):
            return [*connection.watched, *job_ids]
        return connection.watched

    def _subscription(self, connection: Connection, job_id: str) -> Subscription | None:
        job = self._jobs.get(job_id)
        return None if job is None else job.subscriptions.get(connection)

    def _end(self, connection: Connection, job_id: str, refused: Refused) -> None:
        """End a subscription, and have the job leave the lists that show it."""
        subscription = self._subscription(connection, job_id)
        if subscription is not None:
            self._jobs[job_id].turn_away(subscription, refused)
        elif job_id in connection.pending:
            self._jobs[job_id].doubts += 1  # it is told there, once the policy was asked again
        elif not refused.temporary and job_id in self._feed.shown_to(connection):
            connection.send(frames.error(refused))
        if not refused.temporary:
            self._feed.forget(connection, job_id)


def _backend(identity: Identity) -> str:
    return "" if identity.proof is None else identity.proof.backend


def _newest(wanted: Collection[FeedOf]) -> dict[FeedOf, list[str]]:
    found = {}
    for backend, name in dict.fromkeys(key[:2] for key in wanted):
        asked = [rights for *of, rights in wanted if of == [backend, name]]
        found.update({(backend, name, each): ids for each, ids in newest(asked, name, conf.FEED_JOBS).items()})
    return found

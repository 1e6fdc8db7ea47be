"""The world around the read path: time, chance, what goes wrong, and the story of it."""

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Any

from django.db import OperationalError

from jobs.states import LISTED, EventKind
from progress.broker.messages import (
    ACCESS_GROUP,
    FEED_GROUP,
    Deletion,
    access_message,
    deletion_message,
    feed_message,
    job_group,
    job_message,
    publication_of,
)
from progress.delivery import hubs
from tests.simulation.clients import Client
from tests.simulation.clock import VirtualLoop
from tests.simulation.database import Commit, Database, Row, may_view
from tests.simulation.layer import Layer
from tests.simulation.sockets import GONE, Socket

MODES = "sqlite", "postgres", "redis-sqlite", "redis-postgres"
READ_SECONDS = 5.0  # after which a read of a silent database is given up
PAUSE_SECONDS = 5.0  # of a job whose log was set back: whoever restores a backup does not do it within a second

HAZARDS = frozenset(
    {
        # the database
        *("slow reads", "ambush", "database raises", "interface error", "database silent"),
        # the channel layer
        *("late", "lost", "repeated", "layer raises", "layer hangs", "layer deaf", "layer crash"),
        # the doorbell
        *("ring lost", "ring late", "stray rings"),
        # the jobs
        *("elsewhere", "untold", "burst", "anew", "delete", "false word", "prune", "compact", "set back", "bad row"),
        *("access", "guests", "policy raises", "worker lost"),
        # the sockets
        *("suspends", "send times", "send raises", "writer", "pauses"),
        # the clients
        *("again", "resumes", "impossible", "feeds", "logs", "shutdown", "last leave"),
    }
)


class Violation(Exception):
    """Something happened that may not."""


class World:
    """One run: what a seed makes of it."""

    def __init__(self, seed: int, mode: str, hazards: frozenset[str] = HAZARDS) -> None:
        self.seed, self.mode, self.hazards = seed, mode, hazards
        self.loop = VirtualLoop()
        self.story: list[tuple[float, str, str]] = []
        self.database = Database(self.loop.time)
        self.layer = Layer(self) if mode.startswith("redis") else None
        self.is_calm = False
        self.violation = ""
        self.end: Callable[[], Any] = lambda: None  # ends the run
        self.reads = 0
        self.counters = 0  # of SQLite, that are open
        self.stray_rings = 0
        self._ringing = self.chance("rings")
        self._chance = chance = self.chance("world")
        self._reading = self.chance("reads")
        self.seconds = chance.uniform(1, 6)  # of turmoil
        self.job_ids = [f"job-{number}" for number in range(chance.randint(1, 4))]
        self.clients = [Client(self, number) for number in range(chance.randint(1, 5))]
        self.consumers: dict[Socket, asyncio.Task[None]] = {}
        # What is wrong now, and what was
        self._away: type[Exception] | None = None
        self._awake = asyncio.Event()
        self._awake.set()
        self.raising: set[tuple[Any, str]] = set()
        self.ever_raised: set[tuple[Any, str]] = set()
        self._trouble_at = float("-inf")  # when the database was last in trouble
        self._not_found: dict[str, Any] | None = None

    # Chance and story

    def chance(self, name: str) -> Random:
        """Return a source of chance for one actor, whose draws do not depend on what others do."""
        return Random(f"{self.seed} {self.mode} {name}")

    def has(self, hazard: str) -> bool:
        return hazard in self.hazards

    def tell(self, who: str, what: str) -> None:
        self.story.append((self.loop.time(), who, what))

    def violated(self, what: str) -> None:
        self.note(what)
        raise Violation(what)

    def note(self, what: str) -> None:
        """Note a violation; the first ends the run."""
        self.tell("!", what)
        if not self.violation:
            self.violation = what
            self.end()

    def same_answer(self, answer: dict[str, Any]) -> None:
        self._not_found = self._not_found or answer
        if answer != self._not_found:
            self.violated(f"unknown and forbidden jobs differ: {answer} and {self._not_found}")

    # Access

    def allows(self, user: Any, row: Row) -> bool:
        return may_view(user, row, row.guests)

    def policy(self) -> "World":
        return self

    def may_view(self, user: Any, job: Any) -> bool:
        if (user.pk, job.pk) in self.raising:
            raise RuntimeError("the policy fails")
        row = self.database.rows.get(job.pk)
        guests = () if row is None else row.guests  # which it reads by itself, as a policy over other tables does
        return may_view(user, job, guests)

    def newest(self, users: Any, limit: int, *, own: bool) -> Any:
        return {user: [job.pk for job in self.database.recent_jobs(user, limit, own=own)] for user in users}

    def viewable(self, wanted: Any) -> Any:
        rows = self.database.rows
        return {
            user: {job_id for job_id in job_ids if job_id in rows and self.may_view(user, rows[job_id].model())}
            for user, job_ids in wanted.items()
        }

    # The database

    def now(self) -> datetime:
        return self.database.now()

    @property
    def is_down(self) -> bool:
        """Whether the database does not answer now."""
        return self._away is not None or not self._awake.is_set()

    def had_trouble(self, seconds: float, user: Any = None, job_id: str = "") -> bool:
        """Tell whether the database was in trouble in the last seconds, or the policy for this user and job, ever."""
        is_recent = self.loop.time() - self._trouble_at < seconds
        return self.is_down or is_recent or (getattr(user, "pk", None), job_id) in self.ever_raised

    async def read(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Stand in for the pool of threads: what is read is of one moment, and is there later."""
        self.reads += 1
        name = getattr(function, "__name__", str(function))
        await self._pass()
        if not self._awake.is_set():
            try:
                async with asyncio.timeout(READ_SECONDS):
                    await self._awake.wait()
            except TimeoutError:
                raise OperationalError("canceling statement due to statement timeout") from None
        if self._away is not None:
            self.tell("database", f"is away for {name}")
            raise self._away("the database is away")
        answer = function(*args, **kwargs)
        self.tell("database", f"is read: {name}")
        if self.has("ambush") and not self.is_calm and self._reading.random() < 0.15:
            self._ambush()
        await self._pass()
        return answer

    async def close_old_connections(self) -> None:
        pass

    async def _pass(self) -> None:
        slow = self.has("slow reads") and not self.is_calm and self._reading.random() < 0.1
        await asyncio.sleep(self._reading.uniform(0.05, 0.6) if slow else self._reading.uniform(0.0002, 0.005))

    def _ambush(self) -> None:
        """Another process commits while the answer is under way."""
        job_ids = sorted(set(self.database.rows) - self.database.set_back_jobs)  # those are left alone for a while
        if job_ids:
            job_id = self._reading.choice(job_ids)
            self.write(job_id, self._reading.choice((EventKind.TICK, EventKind.STATUS)), here=False)

    def counter(self) -> "Counter | None":
        """Stand in for `DataVersion.of_database`."""
        return Counter(self) if self.mode.endswith("sqlite") else None

    def fail(self, error: type[Exception] | None) -> None:
        self._away, self._trouble_at = error, self.loop.time()

    def fall_silent(self, is_silent: bool) -> None:
        (self._awake.clear if is_silent else self._awake.set)()
        self._trouble_at = self.loop.time()

    # The doorbell

    async def hear(self, ring: Any) -> None:
        """Stand in for `progress.delivery.hearing.hear`: the world rings whoever watches."""
        if self.layer is not None:
            self.violated("the doorbell is heard beside a channel layer")
        await asyncio.Event().wait()

    def ring(self) -> None:
        """Do as `progress.broker.doorbell` does in the process that has committed."""
        chance = self._ringing
        if self.has("ring lost") and chance.random() < 0.2:
            return
        is_late = self.has("ring late") and chance.random() < 0.2
        self.loop.call_later(chance.uniform(0.05, 1.0) if is_late else chance.uniform(0.0002, 0.003), self.ring_now)

    def ring_now(self) -> None:
        """Ring, also where a layer is: nobody does that, but it would harm nothing."""
        hub = hubs._hubs.get(self.loop)
        if hub is not None and hub.connections:
            hub.reader.ring()

    # Writes, and who hears of them

    def write(self, job_id: str, *kinds: EventKind, here: bool, told: bool = True) -> None:
        """Commit events together, in this process or another."""
        commits = [self.database.commit(job_id, kind) for kind in kinds]
        where = ("here" if here else "elsewhere") + ("" if told else ", untold")
        for commit in commits:
            self.tell(job_id, f"{commit.kind} {commit.text} at {commit.seq} ({where})")
        self.publish(commits, here=here, told=told)

    def moment(self) -> str:
        """Return the time by the database's clock, in words."""
        return f"{self.database.now():%H:%M:%S.%f}"

    def say_of_worker(self, job_id: str, stalled: str | None, *, here: bool, told: bool) -> None:
        """Commit since when the worker of a job is lost; empty: it is back; None: the job is queued anew."""
        commit = self.database.commit(job_id, EventKind.STATUS, stalled=stalled)
        self.tell(job_id, f"{commit.text} at {commit.seq}: its worker is lost since {stalled!r}")
        self.publish([commit], here=here, told=told)

    def publish(self, commits: list[Commit], *, here: bool, told: bool) -> None:
        """Tell the hub, and do as `progress.broker.publisher` does."""
        job_id = commits[0].job_id
        epoch = self.database.rows[job_id].epoch
        events = [commit.event(epoch) for commit in commits]
        if here:
            for event in events:
                hubs.deliver(None, event)
        elif self.layer is None:
            self.ring()
        if told and self.layer is not None:
            self.layer.group_send(job_group(job_id), job_message([publication_of(event) for event in events]))
            if any(event.kind in LISTED for event in events):
                self.layer.group_send(FEED_GROUP, feed_message([job_id]))

    def publish_deletion(self, job_id: str, *, here: bool, told: bool) -> None:
        """Tell of a job that it was deleted, truly or not."""
        if here:
            hubs.compare(None, job_id)
        elif self.layer is None:
            self.ring()
        if told and self.layer is not None:
            self.layer.group_send(job_group(job_id), deletion_message(Deletion(job_id)))
            self.layer.group_send(FEED_GROUP, feed_message([job_id]))

    def change_guests(self, job_id: str, guests: tuple[int, ...], *, here: bool, told: bool) -> None:
        """Change who else may see a job, and tell of it as `progress.access` does."""
        self.database.invite(job_id, guests)
        self.tell(job_id, f"has the guests {guests} ({'told' if told else 'untold'})")
        if told and here:
            hubs.access_changed()
        if told and self.layer is not None:
            self.layer.group_send(ACCESS_GROUP, access_message())

    # Sockets

    def serve(self, socket: Socket, job_id: str | None, query: str) -> None:
        """Let the consumer serve a socket."""
        from progress.transports.asgi import SENDER
        from progress.transports.consumers import ProgressConsumer

        kwargs = {} if job_id is None else {"job_id": job_id}
        scope = {
            "type": "websocket",
            "path": "/progress/ws",
            "headers": [(b"host", b"localhost")],
            "query_string": query.encode(),
            "client": [socket.client.name, 1],
            "url_route": {"args": (), "kwargs": kwargs},
            "extensions": {SENDER: socket.writer} if socket.writer else {},
            "user": socket.client.user,
        }
        serving = ProgressConsumer.as_asgi()(scope, socket.receive, socket.send)
        self.consumers[socket] = task = self.loop.create_task(serving)
        task.add_done_callback(lambda _: self._served(socket, task))

    def stop(self, socket: Socket) -> None:
        self.consumers[socket].cancel()

    def _served(self, socket: Socket, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.note(f"a consumer raised {task.exception()!r}")
        if socket.is_open:
            socket.is_open = False
            socket.client.closed(socket, GONE)


class Counter:
    """SQLite's change counter."""

    def __init__(self, world: World) -> None:
        self._world = world
        if world.is_down:
            raise sqlite3.OperationalError("unable to open database file")
        self._seen = world.database.version
        world.counters += 1

    def has_changed(self) -> bool:
        if self._world.is_down:
            return True
        before, self._seen = self._seen, self._world.database.version
        return self._seen != before

    def close(self) -> None:
        self._world.counters -= 1

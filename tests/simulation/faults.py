"""Faults to plant into the read path: a simulation that does not find them is worth nothing."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pkgutil import resolve_name
from typing import Any, NamedTuple
from unittest import mock

from jobs.states import EventKind
from tests.simulation.world import MODES

Make = Callable[[Any], Any]

WITH_LAYER = "redis-sqlite", "redis-postgres"


class Fault(NamedTuple):
    """A fault: what of the software it replaces, as ``module:Class.method``, and by what, made of what was there."""

    what: str
    patches: Mapping[str, Make]
    modes: tuple[str, ...] = MODES


def _loads_by_itself(_: Any) -> Any:
    from jobs import selectors
    from progress.delivery import reads

    async def refresh(self: Any, job: Any) -> None:
        rows = await reads.in_thread(lambda: selectors.get_jobs([job.job_id]))
        job.take(next(iter(rows), None))

    return refresh


def _leaves_out_what_is_loaded(read_all: Any) -> Any:
    async def read(self: Any, jobs: Any) -> None:
        await read_all(self, [job for job in jobs if job.position is not None])

    return read


def _looks_only_when_told(seconds_to_sweep: Any) -> Any:
    def seconds(self: Any, version: Any) -> float:
        return 0.0 if seconds_to_sweep(self, version) <= 0 and self._sweep_now else 1e6

    return seconds


def _lets_be_superseded(send_chunk: Any) -> Any:
    return lambda self, chunk, *, lasting=False: send_chunk(self, chunk)


def _does_not_wait(_: Any) -> Any:
    async def ready(self: Any) -> None:
        return None

    return ready


def _sends_behind(refused: Any) -> Any:
    def send(self: Any) -> None:
        from progress.delivery.chunks import Chunk

        waiting = list(iter(self._outbox.pop, None))
        refused(self)
        if waiting:
            self._sender.write(Chunk(waiting))

    return send


def _wakes_nobody(enter: Any) -> Any:
    def enter_only(self: Any, state: Any) -> None:
        ready, self._ready = getattr(self, "_ready", None), None
        enter(self, state)
        self._ready = ready

    return enter_only


def _is_live_at_once(replace: Any) -> Any:
    def replaced(self: Any, new: Any, since: Any) -> Any:
        since = replace(self, new, since)
        self._live.setdefault(frozenset(), {})[new.connection] = None
        return since

    return replaced


def _begins_where_asked(replace: Any) -> Any:
    def replaced(self: Any, new: Any, since: Any) -> Any:
        replace(self, new, since)
        return since

    return replaced


def _joins_only(settle: Any) -> Any:
    async def settled(self: Any, group: str) -> None:
        if group in self._wanted:
            await settle(self, group)

    return settled


def _forgets_groups(give_back: Any) -> Any:
    async def given(self: Any, **options: Any) -> None:
        self._joined.clear()
        self._unsure.clear()
        await give_back(self, **options)

    return given


def _frees_nothing(pop: Any) -> Any:
    def popped(self: Any) -> Any:
        size = self._size
        frame = pop(self)
        self._size = 4 * size  # much more, since few outboxes are filled twice
        return frame

    return popped


def _rows_first(compaction: Any) -> Any:
    def steps(*args: Any) -> Any:
        floor, *deletions = compaction(*args)
        return [*deletions, floor]

    return steps


def _asks_nobody(offer: Any) -> Any:
    def offered(self: Any, publications: Any) -> Any:
        self._known_upto = publications[-1].seq if publications else 0
        return offer(self, publications)

    return offered


def _leaves_out_what_comes(read_page: Any) -> Any:
    async def read(self: Any, position: Any) -> None:
        await read_page(self, position)
        if self._page is not None and self._job.position is not None:
            self._since = self._job.position

    return read


def _takes_each_kind_for_whole(first_events: Any) -> Any:
    def found(self: Any, job_id: str, span: Any, *args: Any) -> Any:
        return first_events(self, job_id, span, *args)[0], span.upto

    return found


def _forgets_the_position(begin: Any) -> Any:
    return lambda self, position, since, *args: begin(self, position, None, *args)


def _stops_for_access_only(stop: Any) -> Any:
    return lambda self, which: [] if isinstance(which, list) else stop(self, which)


def _counts_as_a_sweep(ring: Any) -> Any:
    def rung(self: Any) -> None:
        self._swept_at = asyncio.get_running_loop().time()

    return rung


def _is_back_by_a_tick(commit: Any) -> Any:
    def committed(self: Any, job_id: str, kind: Any, progress: Any = None, *, stalled: str | None = None) -> Any:
        row = self.rows[job_id]
        if row.stalled and stalled is None and kind in (EventKind.TICK, EventKind.STAGE):
            self._store(row._replace(stalled=""))
        return commit(self, job_id, kind, progress, stalled=stalled)

    return committed


FAULTS: dict[str, Fault] = {
    "left out": Fault(
        "what is written while a job is read for its first watcher is left out",
        {
            "progress.delivery.log_reader:LogReader.refresh": _loads_by_itself,
            "progress.delivery.log_reader:LogReader._read_all": _leaves_out_what_is_loaded,
            "progress.delivery.log_reader:LogReader._seconds_to_sweep": _looks_only_when_told,
        },
        ("sqlite",),
    ),
    "superseded": Fault(
        "the rest of a replay goes to the outbox, where later ticks supersede it",
        {
            "progress.delivery.connection:Connection.send_chunk": _lets_be_superseded,
            "progress.delivery.connection:Connection.ready": _does_not_wait,
        },
    ),
    "twice": Fault(
        "who subscribes again gets events twice",
        {"progress.delivery.watched_job:WatchedJob.replace": _begins_where_asked},
    ),
    "behind the close": Fault(
        "what waits is still sent after a message was refused",
        {"progress.delivery.connection:Connection.refused": _sends_behind},
    ),
    "wake-up": Fault(
        "who waits for a socket is not woken", {"progress.delivery.connection:Connection._enter": _wakes_nobody}
    ),
    "early snapshot": Fault(
        "a socket gets what comes before it was answered",
        {"progress.delivery.watched_job:WatchedJob.replace": _is_live_at_once},
    ),
    "never left": Fault(
        "a group of the layer is never left",
        {
            "progress.broker.subscriber:Subscriber._settle": _joins_only,
            "progress.broker.subscriber:Subscriber._give_back": _forgets_groups,
        },
        WITH_LAYER,
    ),
    "frees nothing": Fault("the outbox frees nothing", {"progress.delivery.outbox:Outbox.pop": _frees_nothing}),
    "rows first": Fault(
        "a compaction deletes before it has committed the floor",
        {"tests.simulation.database:Database.compaction": _rows_first},
    ),
    "access": Fault(
        "who may no longer see a job still does",
        {"progress.delivery.watched_job:WatchedJob._stop": lambda _: lambda self, which: []},
    ),
    "edit": Fault(
        "an edit goes out before the row was read after it",
        {"progress.delivery.watched_job:WatchedJob.offer": _asks_nobody},
    ),
    "guests": Fault(
        "who may no longer see a job by what another table says still does",
        {"progress.delivery.access_guard:AccessGuard._end_unseen": lambda _: lambda self, *_: None},
    ),
    "backscroll": Fault(
        "lines that come while the last ones are read are left out",
        {"progress.delivery.recovery:Recovery._read_page": _leaves_out_what_comes},
    ),
    "page passed over": Fault(
        "what of a kind has no place on a page is left out",
        {"tests.simulation.database:Database.first_events": _takes_each_kind_for_whole},
    ),
    "last lines only": Fault(
        "who has a position gets the last lines only",
        {"progress.delivery.backscroll:Backscroll.begin": _forgets_the_position},
    ),
    "lines passed over": Fault(
        "who is brought to a snapshot does not get the lines before it",
        {"progress.delivery.watched_job:WatchedJob._stop": _stops_for_access_only},
    ),
    "ring": Fault(
        "who rings the doorbell all the time keeps sweeps away",
        {"progress.delivery.log_reader:LogReader.ring": _counts_as_a_sweep},
        ("postgres",),
    ),
    "lost worker": Fault(
        "a list is not told that a worker which was lost reports again",
        {"tests.simulation.database:Database.commit": _is_back_by_a_tick},
    ),
    "new guests": Fault(
        "a feed does not show what its user may see newly",
        {"progress.delivery.feed:Feed.owe": lambda _: lambda self, *_: None},
    ),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Put a fault into the software; without a name, none."""
    with ExitStack() as patched:
        for target, make in FAULTS[name].patches.items() if name else ():
            place, _, attribute = target.rpartition(".")
            owner = resolve_name(place)
            patched.enter_context(mock.patch.object(owner, attribute, make(getattr(owner, attribute))))
        yield

"""One seed: turmoil, then calm, in which all come to show the truth; then all leave, and nothing may be left."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

from django.db import InterfaceError, OperationalError

from jobs.states import EventKind
from tests.simulation import seam
from tests.simulation.clock import Stuck
from tests.simulation.feed_views import NEWS_SECONDS
from tests.simulation.layer import LATE_SECONDS
from tests.simulation.listening import listening
from tests.simulation.views import IMPOSSIBLE
from tests.simulation.world import HAZARDS, PAUSE_SECONDS, World

SYNC_SECONDS = 3.0  # PROGRESS_SYNC_SECONDS: the slowest cadence
RETRY_SECONDS = 1.0  # of the hub's reader, and of the subscriber
ANSWER_SECONDS = 2.0  # for which the subscriber waits for the layer
RETURN_SECONDS = 1.5  # for a client to come back, or to ask again
TRUTH_SECONDS = SYNC_SECONDS + 2 * RETRY_SECONDS + ANSWER_SECONDS + RETURN_SECONDS  # after which all show the truth
LOOK_SECONDS = 0.1
MAX_ROUNDS = 20  # of cancelling what still runs, at the end
LEAVE_SECONDS = ANSWER_SECONDS + 2 * RETRY_SECONDS  # after which nothing is left of those who have left

ROUNDS_A_SECOND = 1 / 0.25 + 2  # PROGRESS_SWEEP_SECONDS, and what else may fall into one second
IMPOSSIBLE_TIMES = 20
READS_ONCE = 40  # however short a run
READS_A_SECOND = 12.0  # two a sweep, and a feed's
READS_A_TRIGGER = 1.0  # what a commit, a message of a client or a connection may cause

KINDS = (
    *[EventKind.TICK] * 6,
    *[EventKind.STATUS] * 2,
    *[EventKind.STAGE] * 2,
    *[EventKind.LOG] * 3,
    *[EventKind.OUTPUT] * 2,
)


@dataclass
class Outcome:
    """How a run ended: with a violation, or well."""

    violation: str
    story: list[tuple[float, str, str]] = field(repr=False)
    reads: int = 0

    def __str__(self) -> str:
        lines = [f"{at:8.4f} {who:>9}  {what}" for at, who, what in self.story]
        return "\n".join([*lines, self.violation and f"VIOLATION: {self.violation}"])


def again(seed: int, mode: str) -> str:
    """Return the command that runs a seed again, with its story."""
    return f"python -m tests.simulation --mode {mode} --seeds {seed}"


def run(seed: int, mode: str, hazards: frozenset[str] = HAZARDS) -> Outcome:
    """Run one seed."""
    world = World(seed, mode, hazards)
    with seam.around(world), listening(world):
        main = world.loop.create_task(_run(world))
        world.end = main.cancel
        try:
            world.loop.run_until_complete(main)
        except asyncio.CancelledError:
            pass
        except Stuck as stuck:
            world.note(str(stuck))
        finally:
            world.end = lambda: None
            _clear(world)
    if not world.violation and world.loop.complaints:
        world.violation = f"a callback or a task has raised: {world.loop.complaints[0]}"
    return Outcome(world.violation, world.story, world.reads)


async def _run(world: World) -> None:
    chance = world.chance("scenario")
    turmoil = [_work(world, job_id) for job_id in world.job_ids]
    turmoil += [_weather(world), _invite(world)] + [client.live() for client in world.clients]
    ringing = asyncio.ensure_future(_ring_for_nothing(world))
    await _for(world, world.seconds, turmoil)
    if world.database.set_back_jobs:
        await asyncio.sleep(LATE_SECONDS)  # else word of what is no more joins on to what is written next
    _become_calm(world, chance)
    keeping = [asyncio.ensure_future(client.keep()) for client in world.clients] + [ringing]
    await _until_true(world, "after the turmoil")
    if world.database.rows:
        world.write(chance.choice(sorted(world.database.rows)), EventKind.STATUS, here=False, told=False)
        await _until_true(world, "after a last write elsewhere")
        await _lose_a_last_worker(world, chance)
    for guests in ((), (1, 2)) if world.has("guests") and chance.random() < 0.3 else ():
        for job_id in sorted(world.database.rows):
            world.change_guests(job_id, guests, here=False, told=False)
        await asyncio.sleep(NEWS_SECONDS + LOOK_SECONDS)  # no write tells of it meanwhile
        await _until_true(world, f"after the last guests are {guests}")
    for task in keeping:
        task.cancel()
    await asyncio.sleep(LEAVE_SECONDS)  # for what was asked before to be answered
    await _ask_for_the_impossible(world)
    for client in chance.sample(world.clients, len(world.clients)):
        client.leave()
        await asyncio.sleep(chance.choice((0, 0.01, 0.1)))
    await asyncio.sleep(LEAVE_SECONDS)
    _check_the_end(world)


async def _for(world: World, seconds: float, works: list[Coroutine[Any, Any, None]]) -> None:
    """Let some things go on for a while."""
    tasks = [asyncio.ensure_future(work) for work in works]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _until_true(world: World, when: str) -> None:
    """Wait until everybody shows the truth; no longer than documented."""
    deadline = world.loop.time() + TRUTH_SECONDS
    while missing := next(filter(None, (client.missing_truth() for client in world.clients)), ""):
        if world.loop.time() >= deadline:
            world.note(f"{TRUTH_SECONDS:g} s {when}: {missing}")
        await asyncio.sleep(LOOK_SECONDS)


async def _lose_a_last_worker(world: World, chance: Random) -> None:
    """Have a job shown as stalled, and then no more."""
    if not world.has("worker lost") or chance.random() < 0.5:
        return
    job_id = chance.choice(sorted(world.database.rows))
    world.say_of_worker(job_id, world.moment(), here=False, told=False)
    await _until_true(world, "after a worker was lost")
    world.write(job_id, EventKind.TICK, here=False, told=False)
    await _until_true(world, "after it has reported again")


async def _ask_for_the_impossible(world: World) -> None:
    """Let a client offer positions that its job has not reached: that may cost reads of this job, not of others."""
    client = next((each for each in world.clients if each.socket is not None and each.wants), None)
    if client is None or not (world.has("impossible") and world.has("again")):
        return
    job_id = next(iter(client.wants))
    before = world.database.rows_read.copy()
    for _ in range(IMPOSSIBLE_TIMES):
        client.subscribe(job_id, wants=client.wants[job_id], since=(client.views[job_id].epoch, IMPOSSIBLE))
    await asyncio.sleep(1)
    read = world.database.rows_read - before
    others = max((count for other, count in read.items() if other != job_id), default=0)
    if others > ROUNDS_A_SECOND:
        world.note(f"{IMPOSSIBLE_TIMES} impossible positions of {job_id} made {others} reads of another job")


def _become_calm(world: World, chance: Random) -> None:
    world.tell("world", "all is calm")
    world.is_calm = True
    if world.layer is not None:
        world.layer.excuse()
    for job_id in sorted(world.database.spoiled_jobs & set(world.database.rows)):
        world.write(job_id, EventKind.STATUS, here=chance.random() < 0.5)


def _check_the_end(world: World) -> None:
    if left := seam.leftovers(world):
        world.note(f"left behind: {', '.join(left)}")
    ours = asyncio.current_task()
    if running := [task for task in world.loop.tasks if not task.done() and task is not ours]:
        world.note(f"still running: {running[0].get_coro().__qualname__}")
    if unretrieved := world.loop.unretrieved():
        world.note(f"nobody took an exception: {unretrieved[0].exception()!r}")
    _check_reads(world)


def _check_reads(world: World) -> None:
    said = sum(what.startswith(("says", "connects")) for _, _, what in world.story)
    triggers = len(world.database.commits) + said + world.stray_rings
    budget = READS_ONCE + READS_A_SECOND * world.loop.time() + READS_A_TRIGGER * triggers
    if world.reads > budget:
        world.note(f"{world.reads} reads in {world.loop.time():.1f} s with {triggers} triggers; {budget:.0f} allowed")


def _clear(world: World) -> None:
    """End what still runs, as a server that is stopped does."""
    for _ in range(MAX_ROUNDS):
        if not (running := [task for task in world.loop.tasks if not task.done()]):
            break
        for task in running:
            task.cancel()
        world.loop.call_later(0.2, world.loop.stop)
        world.loop.run_forever()
    seam.leftovers(world)
    world.loop.close()


# What happens in the turmoil


async def _work(world: World, job_id: str) -> None:
    """Write a job, until it is left alone; now and then, harm it."""
    chance, database = world.chance(job_id), world.database
    database.create(job_id, chance.choice((None, 1, 2)), public=chance.random() < 0.6)
    ends_at = world.seconds * chance.uniform(0, 1)
    pace = chance.choice((0.02, 0.05, 0.3))
    while world.loop.time() < ends_at:
        await asyncio.sleep(chance.expovariate(1 / pace))
        if chance.random() < 0.05:
            await _harm(world, job_id, chance)
            continue
        count = chance.randint(2, 12) if world.has("burst") and chance.random() < 0.05 else 1
        here = not (world.has("elsewhere") and chance.random() < 0.5)
        told = not (world.has("untold") and chance.random() < 0.1)
        world.write(job_id, *(chance.choice(KINDS) for _ in range(count)), here=here, told=told)


async def _harm(world: World, job_id: str, chance: Random) -> None:
    """Do to a job what no lifecycle does."""
    database = world.database
    harms = ("anew", "delete", "false word", "prune", "compact", "compact", "set back", "bad row", "access", "access")
    harm = chance.choice((*harms, "worker lost", "worker lost"))
    if not world.has(harm):
        return
    world.tell(job_id, harm)
    row = database.rows[job_id]
    if harm in ("anew", "delete"):
        database.delete(job_id)
        world.publish_deletion(job_id, here=chance.random() < 0.3, told=chance.random() < 0.6)
        if harm == "delete":
            await asyncio.sleep(chance.expovariate(1))
        first = database.create(job_id, chance.choice((None, 1, 2)), public=chance.random() < 0.6)
        world.publish([first], here=chance.random() < 0.5, told=chance.random() < 0.9)
    elif harm == "false word":
        world.publish_deletion(job_id, here=True, told=True)
    elif harm == "prune":
        database.prune(job_id, chance.randint(0, row.seq))
    elif harm == "compact":
        for step in database.compaction(job_id, row.seq - chance.choice((0, 0, 3, 10)), chance):
            step()
            await asyncio.sleep(chance.choice((0, 0.01, 0.3)))
    elif harm == "set back" and row.seq > 1:
        database.set_back(job_id, chance.randint(max(1, row.seq - 8), row.seq - 1))
        await asyncio.sleep(PAUSE_SECONDS)
    elif harm == "bad row":
        database.spoil(job_id)
    elif harm == "worker lost":
        await _lose_the_worker(world, job_id, chance)
    elif harm == "access":
        change = database.edit if chance.random() < 0.5 else database.admit
        edit = change(job_id, chance.choice((None, 1, 2)), public=chance.random() < 0.4)
        if edit is not None:
            world.publish([edit], here=chance.random() < 0.5, told=chance.random() < 0.9)


async def _lose_the_worker(world: World, job_id: str, chance: Random) -> None:
    """Have the job shown as stalled; then its worker is back, or goes on reporting, or the job is queued anew.

    Who finds and tells that is another process, or this one: a server looks as well.
    """

    def say(stalled: str | None) -> None:
        world.say_of_worker(job_id, stalled, here=chance.random() < 0.5, told=chance.random() < 0.9)

    say(world.moment())
    await asyncio.sleep(chance.choice((0, 0.05, 1.0)))
    how = chance.choice(("back", "queued anew", "reports"))
    world.tell(job_id, how)
    if how == "reports":
        world.write(job_id, EventKind.LOG, EventKind.TICK, here=chance.random() < 0.5)
    else:
        say("" if how == "back" else None)


async def _invite(world: World) -> None:
    """Change who is a guest of which job, which no row of a job tells."""
    chance, rows = world.chance("guests"), world.database.rows
    for job_id in world.job_ids if world.has("guests") else ():
        world.change_guests(job_id, chance.choice(((), (1,), (2,), (1, 2))), here=True, told=False)
    while world.has("guests"):
        await asyncio.sleep(chance.expovariate(2))
        if rows:
            guests = tuple(pk for pk in (1, 2) if chance.random() < 0.5)
            world.change_guests(chance.choice(sorted(rows)), guests, here=True, told=chance.random() < 0.3)


async def _ring_for_nothing(world: World) -> None:
    """Ring the doorbell without a reason, as anybody may who may write the database."""
    chance = world.chance("stray rings")
    pace = chance.choice((0.01, 0.1, 1.0))
    while world.has("stray rings"):
        await asyncio.sleep(chance.expovariate(1 / pace))
        world.stray_rings += 1
        for _ in range(chance.choice((1, 1, 50))):
            world.ring_now()


async def _weather(world: World) -> None:
    """Let things go wrong around the jobs, each for a while."""
    chance, layer = world.chance("weather"), world.layer
    kinds = ["database raises", "interface error", "database silent", "policy raises"]
    kinds += ["layer raises", "layer hangs", "layer deaf", "layer crash"] if layer is not None else []
    kinds = [kind for kind in kinds if world.has(kind)]
    while kinds:
        await asyncio.sleep(chance.expovariate(0.7))
        kind = chance.choice(kinds)
        world.tell("weather", kind)
        try:
            _begin(world, kind, chance)
            await asyncio.sleep(chance.choice((0.02, 0.3, 1.5)))
        finally:
            world.tell("weather", f"{kind} is over")
            _end(world)


def _begin(world: World, kind: str, chance: Random) -> None:
    if kind in ("database raises", "interface error"):
        world.fail(OperationalError if kind == "database raises" else InterfaceError)
    elif kind == "database silent":
        world.fall_silent(True)
    elif kind == "policy raises":
        pair = chance.choice((None, 1, 2, 3)), chance.choice(world.job_ids)
        world.raising.add(pair)
        world.ever_raised.add(pair)
    elif kind == "layer raises":
        world.layer.raises = True
    elif kind == "layer hangs":
        world.layer.hang(True)
    elif kind == "layer deaf":
        world.layer.is_deaf = True
    elif kind == "layer crash":
        world.layer.crash()


def _end(world: World) -> None:
    """Let all be well again."""
    if world.is_down:
        world.fail(None)
        world.fall_silent(False)
    world.raising.clear()
    if world.layer is not None:
        world.layer.raises = world.layer.is_deaf = False
        world.layer.hang(False)

"""What the tests of the hub share: one job, watchers without sockets, publications by hand."""

from typing import Any

from django.contrib.auth.models import AnonymousUser

from jobs.events import Event
from jobs.lifecycle import ProcessingJobLifecycle
from progress.broker.messages import publication_of
from progress.delivery import hubs
from progress.delivery.log_reader import Round
from progress.protocol.position import Position
from tests.progress.watching import Watcher

NOBODY = AnonymousUser()
JOB = "job-1"


async def a_job(ticks: int = 0) -> ProcessingJobLifecycle:
    """A public job; with ticks, a running one at seq ``ticks + 2``."""
    job = await ProcessingJobLifecycle.acreate(JOB, public=True)
    if ticks:
        await job.amark_started()
    for number in range(ticks):
        await job.amark_progress(number / 10)
    return job


async def watch(watcher: Watcher, since: Position | None = None, job_id: str = JOB, **options: Any) -> None:
    await hubs.current().subscribe(watcher.connection, job_id, since, **options)


def offer(event: Event) -> None:
    hubs.current().dispatch([publication_of(event)])


def seqs(watcher: Watcher) -> list[int]:
    return [frame["seq"] for frame in watcher.frames]


async def swept() -> None:
    """Have every watched job compared with the log, until nothing follows from that."""
    reader = hubs.current().reader
    reader.sweep()
    coming: Round | None = reader._next
    while coming is not None:
        await coming.is_over.wait()
        if coming.error is not None:
            raise coming.error
        coming = reader._current or (reader._next if reader._next.marked else None)

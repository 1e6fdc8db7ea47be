"""What the tests of the hub share: one job, watchers without sockets, hints by hand."""

from django.contrib.auth.models import AnonymousUser

from jobs.events import Event
from jobs.lifecycle import ProcessingJobLifecycle
from progress import hub
from progress.groups import hint_of
from progress.protocol import Position
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


async def watch(watcher: Watcher, since: Position | None = None, job_id: str = JOB) -> None:
    await hub.current().subscribe(watcher.connection, NOBODY, job_id, since)


def offer(event: Event) -> None:
    hub.current().offer(hint_of(event))


def seqs(watcher: Watcher) -> list[int]:
    return [frame["seq"] for frame in watcher.frames]


def synced() -> bool:
    """Tell whether the hub has done the comparison that it begins with, and waits."""
    return not (hub.current().repair.due.is_set() or hub.current().repair._syncing.locked())

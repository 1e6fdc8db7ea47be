"""What the tests of feeds share."""

from typing import Any

from jobs.lifecycle import ProcessingJobLifecycle
from progress.delivery import hubs
from progress.identity.identity import Identity
from tests.progress.hubs import NOBODY
from tests.progress.watching import Watcher


async def a_job(job_id: str = "job-1", **fields: Any) -> ProcessingJobLifecycle:
    return await ProcessingJobLifecycle.acreate(job_id, **{"public": True, **fields})


async def watch(watcher: Watcher, user: Any = NOBODY, name: Any = "all") -> None:
    watcher.connection.identity = Identity(user)
    await hubs.current().subscribe_feed(watcher.connection, name)


def told(watcher: Watcher) -> list[list[tuple[str, str]]]:
    return [[(entry["job_id"], entry["status"]) for entry in frame["jobs"]] for frame in watcher.frames]


def has_told(*change: str) -> Any:
    return lambda frames: any((e["job_id"], e["status"]) == change for frame in frames for e in frame["jobs"])

"""Deletion and housekeeping on real servers: watchers of each are told, and one of them cleans up."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.conftest import MakeSite
from tests.installation import Served, Site
from tests.sampling import first_quick

SECONDS = 5.0
QUICK = {"JOBS_HOUSEKEEPING_SECONDS": "0.1"}

MAKE = """
from datetime import timedelta
from django.utils import timezone
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
ProcessingJobLifecycle.create("job-1", public=True).mark_started()
JobEvent.objects.bulk_create(
    JobEvent(job_id="job-1", seq=seq, kind="tick", status="in_progress", timestamp=timezone.now())
    for seq in range(3, 2503)
)
ProcessingJob.objects.update(seq=2502)
for job_id in ("old", "kept"):
    lifecycle = ProcessingJobLifecycle.create(job_id, keep=job_id == "kept", public=True)
    lifecycle.mark_started()
    lifecycle.mark_completed()
long_ago = timezone.now() - timedelta(days=40)
ProcessingJob.objects.filter(pk__in=["old", "kept"]).update(finished_at=long_ago)
"""
LEFT = """
import time
from jobs.models import JobEvent, ProcessingJob
while sorted(ProcessingJob.stored.values_list("pk", flat=True)) != ["kept"] or JobEvent.objects.count() != 3:
    time.sleep(0.02)
"""
GONE = {"code": "job_not_found", "temporary": False}


async def watch(stack: AsyncExitStack, served: Served, path: str, kind: str) -> ClientConnection:
    socket = await stack.enter_async_context(connect(f"{served.ws_url}{path}"))
    while json.loads(await socket.recv())["type"] != kind:
        pass
    return socket


async def told_of(socket: ClientConnection) -> Any:
    while (frame := json.loads(await socket.recv()))["type"] != "error":
        pass
    assert {name: frame[name] for name in GONE} == GONE
    return frame["subject"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", first_quick(["postgres+redis", "sqlite"]))
async def test_delete__watchers_of_every_server_are_told_and_the_rows_go(make_site: MakeSite, backend: str) -> None:
    site = make_site(backend)
    await asyncio.to_thread(site.worker, MAKE)
    servers = [await asyncio.to_thread(site.serve, **QUICK, JOBS_KEEP_DAYS="30") for _ in range(2)]
    async with AsyncExitStack() as stack, asyncio.timeout(4 * SECONDS):
        watching = [await watch(stack, served, "/progress/ws/job-1", "snapshot") for served in servers]
        await asyncio.to_thread(site.manage, "delete_job", "job-1")
        assert [await told_of(socket) for socket in watching] == ["job-1"] * 2
        await asyncio.to_thread(site.worker, LEFT)  # the old job is pruned, and the one to keep is there
    for served in servers:
        assert served.stop() == 0
        assert "Housekeeping" not in served.log_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kill", "stop"])
def test_housekeeping__another_takes_over(sqlite_site: Site, kind: str) -> None:
    """At once from a server that stopped; from one that was killed, after its lease (here it is let run out)."""
    first = sqlite_site.serve(**QUICK)
    sqlite_site.worker(HELD)
    getattr(first, kind)()
    if kind == "kill":
        sqlite_site.worker("from jobs.leases import Lease; from django.utils import timezone\n" + LAPSE)
    sqlite_site.worker(MAKE)
    sqlite_site.worker("from jobs.lifecycle import ProcessingJobLifecycle; ProcessingJobLifecycle('job-1').delete()")
    sqlite_site.serve(**QUICK, JOBS_KEEP_DAYS="30")
    sqlite_site.worker(LEFT)


HELD = """
import time
from jobs.leases import Lease
while not Lease.objects.exists():
    time.sleep(0.02)
"""
LAPSE = """
assert Lease.objects.get().until > timezone.now()
Lease.objects.update(until=timezone.now())
"""

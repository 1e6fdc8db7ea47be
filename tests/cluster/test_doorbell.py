"""The doorbell between real processes: nothing else would show a report so soon here."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.cluster.follower import Follower, Worker
from tests.installation import Site
from tests.progress.watching import eventually
from tests.sampling import first_quick

# Without the doorbell, a server would look once a second or less.
SELDOM = {"PROGRESS_POLL_SECONDS": "1", "PROGRESS_SWEEP_SECONDS": "60", "PROGRESS_SYNC_SECONDS": "3600"}
SOON = 0.25  # seconds, in which hardly any report is shown without it
REPORTS = 8
REPORT = """
import sys
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle("job-123")
print("ready", flush=True)
for number, _ in enumerate(sys.stdin):
    job.mark_progress(number, message=f"Item {number}")
    print("reported", flush=True)
"""
CREATE = """
from jobs.lifecycle import ProcessingJobLifecycle
ProcessingJobLifecycle.create("job-123", public=True).mark_started()
"""


async def seconds_to_show(follower: Follower, worker: Worker) -> float:
    """Have a worker report, and return how long it takes until that is shown."""
    seq = follower.last["seq"] + 1
    await worker.go()
    assert await worker.says() == "reported"
    began = time.monotonic()
    await follower.until_at(seq)
    return time.monotonic() - began


async def median_of_reports(follower: Follower, worker: Worker) -> float:
    return sorted([await seconds_to_show(follower, worker) for _ in range(REPORTS)])[REPORTS // 2]


async def ready(site: Site, **settings: str) -> Worker:
    worker = Worker(site.start_worker(REPORT, **settings))
    assert await worker.says() == "ready"
    return worker


def bells_of(site: Site) -> list[Path]:
    folder = Path(site.database_url.removeprefix("sqlite:///") + "-bells")
    return list(folder.iterdir()) if folder.is_dir() else []


@pytest.fixture(params=first_quick(["sqlite", "postgres"]))
def seldom(request: pytest.FixtureRequest, make_site: Any) -> Site:
    """A site whose servers look seldom, with a job."""
    made: Site = make_site(request.param, **SELDOM)
    made.worker(CREATE)
    return made


async def test_ring__shows_a_report_of_another_process_at_once(seldom: Site) -> None:
    served, other = seldom.serve(), seldom.serve()
    worker = await ready(seldom)
    async with Follower(served.ws_url, "job-123") as one, Follower(other.ws_url, "job-123") as two:
        await seconds_to_show(one, worker)  # by which the worker finds the bells, or connects
        await asyncio.sleep(1.1)
        assert await median_of_reports(one, worker) < SOON
        await two.until_at(one.last["seq"])
        assert one.seqs == two.seqs


@pytest.mark.slow
async def test_ring__after_all_connections_were_cut(make_site: Any) -> None:
    site = make_site("postgres", **SELDOM)
    site.worker(CREATE)
    served = site.serve()
    worker = await ready(site)
    async with Follower(served.ws_url, "job-123") as follower:
        await seconds_to_show(follower, worker)
        with psycopg.connect(site.database_url, autocommit=True) as cut:
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            cut.execute(f"{query} AND datname = current_database()")
            listening = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND datname = current_database()"
            await eventually(lambda: cut.execute(listening).fetchone())
        seq = follower.last["seq"]
        for _ in range(2):  # the worker's connection was cut as well, which it notices as it rings the first time
            await worker.go()
            assert await worker.says() == "reported"
            await asyncio.sleep(0.1)
        await follower.until_at(seq + 2)
        assert await median_of_reports(follower, worker) < SOON


@pytest.mark.slow
async def test_bell__of_a_server_that_was_killed_is_removed(make_site: Any) -> None:
    site = make_site("sqlite")
    site.worker(CREATE)
    served, other = site.serve(), site.serve()
    async with Follower(other.ws_url, "job-123") as follower:
        async with Follower(served.ws_url, "job-123"):
            assert len(bells_of(site)) == 2
            served.kill()
        worker = await ready(site)
        while len(bells_of(site)) > 1:
            await asyncio.sleep(0.1)
            await seconds_to_show(follower, worker)
        assert await median_of_reports(follower, worker) < SOON


async def test_bell__of_a_server_that_ends_is_taken_away(make_site: Any) -> None:
    site = make_site("sqlite")
    site.worker(CREATE)
    served = site.serve()
    async with Follower(served.ws_url, "job-123", resumes=True):
        assert len(bells_of(site)) == 1
        served.signal(signal.SIGTERM)
        assert served.wait() == 0
    assert not bells_of(site)


async def test_bell__is_there_only_while_somebody_watches(make_site: Any) -> None:
    site = make_site("sqlite")
    site.worker(CREATE)
    served = site.serve()
    assert not bells_of(site)
    async with Follower(served.ws_url, "job-123"):
        assert len(bells_of(site)) == 1
    await eventually(lambda: not bells_of(site))

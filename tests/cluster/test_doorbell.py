"""The doorbell between real processes: nothing else would show a report so soon here."""

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
    job.mark_progress(number % 100, message=f"Item {number}")
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


def sessions_that(site: Site, did: str) -> int:
    """Return how many sessions of a PostgreSQL last did something, such as ``LISTEN``."""
    with psycopg.connect(site.database_url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE %s", [f"{did} %"]
        ).fetchone()
    assert found is not None
    return int(found[0])


def who_hear(site: Site) -> int:
    """Return how many servers hear the doorbell."""
    return len(bells_of(site)) if site.database_url.startswith("sqlite") else sessions_that(site, "LISTEN")


@pytest.fixture(params=first_quick(["sqlite", "postgres"]))
def seldom(request: pytest.FixtureRequest, make_site: Any) -> Site:
    """A site whose servers look seldom, with a job."""
    made: Site = make_site(request.param, **SELDOM)
    made.worker(CREATE)
    return made


async def test_ring__shows_a_report_of_another_process_at_once(seldom: Site) -> None:
    served, other = seldom.serve(), seldom.serve()
    async with Follower(served.ws_url, "job-123") as one, Follower(other.ws_url, "job-123") as two:
        await eventually(lambda: who_hear(seldom) == 2)
        worker = await ready(seldom)  # which finds both as it rings first
        await seconds_to_show(one, worker)
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
        await eventually(lambda: who_hear(site) == 1)
        seq = follower.last["seq"]
        while not sessions_that(site, "NOTIFY"):  # the worker's was cut as well, which it notices as it rings
            await worker.go()
            assert await worker.says() == "reported"
            seq += 1
        await follower.until_at(seq)
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

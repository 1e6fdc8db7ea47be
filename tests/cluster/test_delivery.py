"""Events of a worker process reach the sockets of a server process: all, once, in order, soon.

The same on SQLite alone, on SQLite with Redis, and on PostgreSQL with Redis.
"""

import asyncio
import json
import statistics
import time
from contextlib import AsyncExitStack

import pytest
from redis import asyncio as aioredis

from tests.cluster.follower import Follower, Worker
from tests.installation import Site
from tests.ports import free_port
from tests.sampling import first_quick
from tests.servers import RedisServer

EVENTS = 4_000
BURST = 300  # of these, which the buffers of a socket hold (some 90 KB): beyond, a slow follower is sent fewer ticks
ROUNDS = 3  # of measuring, of which the best counts: other processes of the machine only ever make it slower

CREATE = """
from jobs.lifecycle import ProcessingJobLifecycle
ProcessingJobLifecycle.create("job-123", name="A job", public=True)
"""

FULL_SPEED = """
import sys
from jobs.lifecycle import ProcessingJobLifecycle
events, pauses = int(sys.argv[1]), {int(at) for at in sys.argv[2:]}
job = ProcessingJobLifecycle("job-123")
print("ready", flush=True); input()
job.mark_started()
for step in range(3, events):
    if step in pauses:
        print(step, flush=True); input()
    job.mark_progress(current=step, total=events, stage=f"stage {step // 100}")
job.mark_completed("Done")
print("done", flush=True)
"""

PACED = """
import sys, time
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle("job-123")
print("ready", flush=True); input()
job.mark_started()
for step in range(int(sys.argv[1])):
    job.mark_progress(step % 100, metadata={"sent": time.time()})
    time.sleep(0.011)  # paced, and out of step with any poll
job.mark_completed()
"""


async def test_full_speed__no_event_is_lost(site: Site) -> None:
    site.worker(CREATE)
    served = site.serve()
    pauses = range(BURST, EVENTS, BURST)
    worker = Worker(site.start_worker(FULL_SPEED, str(EVENTS), *map(str, pauses)))
    assert await worker.says() == "ready"
    async with AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(Follower(served.ws_url, "job-123")) for _ in range(5)]
        for pause in pauses:
            await worker.go()
            assert await worker.says() == str(pause)
            for follower in followers:
                await follower.until_at(pause - 1)
        await worker.go()
        for follower in followers:
            await follower.until_finished()
            assert follower.seqs == list(range(2, EVENTS + 1))
            assert follower.last["message"] == "Done"
    shown = [(event["status"], event["progress"], event["metadata"]) for event in followers[0].events]
    logged = [(event["status"], event["progress"], event["metadata"]) for event in site.events("job-123")[1:]]
    assert shown == logged


@pytest.mark.slow
async def test_latency__worker_to_socket_takes_under_30_ms(site: Site) -> None:
    site.worker(CREATE)
    served = site.serve()
    medians = []
    for _ in range(ROUNDS):
        site.worker("from jobs.models import ProcessingJob; ProcessingJob.objects.all().delete()" + CREATE)
        worker = Worker(site.start_worker(PACED, "150"))
        assert await worker.says() == "ready"
        async with _Clock(served.ws_url, "job-123") as follower:
            await worker.go()
            await follower.until_finished()
        medians.append(statistics.median(follower.delays))
        if medians[-1] < 0.03:
            return
    pytest.fail(f"the medians of {ROUNDS} rounds are {medians} s")


@pytest.mark.slow
@pytest.mark.parametrize("backend", first_quick(["postgres+redis", "sqlite+redis"]))
async def test_redis_restart__every_watcher_ends_right_without_a_reconnect(
    backend: str, make_site: object, redis_server: RedisServer
) -> None:
    site: Site = make_site(backend)  # type: ignore[operator]
    site.worker(CREATE)
    served = site.serve()
    killed_at, restarted_at = 1_200, 2_600
    worker = Worker(site.start_worker(FULL_SPEED, str(EVENTS), str(killed_at), str(restarted_at)))
    assert await worker.says() == "ready"
    async with AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(Follower(served.ws_url, "job-123")) for _ in range(3)]
        await worker.go()
        assert await worker.says() == str(killed_at)
        await asyncio.to_thread(redis_server.kill)
        await worker.go()
        assert await worker.says() == str(restarted_at)
        await asyncio.to_thread(redis_server.start)
        await worker.go()
        assert await worker.says() == "done"
        counted = [event["seq"] for event in site.events("job-123") if event["kind"] != "tick"]
        for follower in followers:
            await follower.until_finished()
            assert follower.connections == 1
            assert follower.seqs == sorted(set(follower.seqs))
            assert set(counted[1:]) <= set(follower.seqs)
            assert follower.last["status"] == "completed"
            assert follower.last["progress"] == 100.0


async def test_redis_restart__later_events_come_through_redis_again(
    make_site: object, redis_server: RedisServer
) -> None:
    # The safety net is slow here, so that only Redis can bring an event in time.
    site: Site = make_site("sqlite+redis", PROGRESS_SYNC_SECONDS="3600")  # type: ignore[operator]
    site.worker(CREATE)
    served = site.serve()
    worker = Worker(site.start_worker(FULL_SPEED, "200", "50", "51"))
    assert await worker.says() == "ready"
    async with Follower(served.ws_url, "job-123") as follower:
        await worker.go()
        assert await worker.says() == "50"
        await follower.until_at(49)
        await asyncio.to_thread(redis_server.kill)
        await asyncio.to_thread(redis_server.start)
        await worker.go()
        assert await worker.says() == "51"
        await _until_subscribed(redis_server.url)  # what comes before is lost, and found with the next
        await worker.go()
        await follower.until_finished()
        assert follower.seqs == list(range(2, 201))


async def test_redis_lost__events_come_from_the_log(make_site: object, redis_server: RedisServer) -> None:
    site: Site = make_site("postgres+redis", PROGRESS_SYNC_SECONDS="0.5")  # type: ignore[operator]
    site.worker(CREATE)
    served = site.serve()
    worker = Worker(site.start_worker(FULL_SPEED, "200", "50"))
    assert await worker.says() == "ready"
    async with Follower(served.ws_url, "job-123") as follower:
        await worker.go()
        assert await worker.says() == "50"
        await asyncio.to_thread(redis_server.kill)
        await worker.go()
        await follower.until_finished()
        assert follower.seqs == list(range(2, 201))
        await asyncio.to_thread(served.wait_for_log, "The channel layer does not answer")


async def _until_subscribed(url: str) -> None:
    """Wait until the server's channel layer has subscribed again, of which only Redis knows."""
    async with asyncio.timeout(30), aioredis.from_url(url) as redis:
        group = b"asgi__group__progress.job.job-123"
        while not dict(await redis.pubsub_numsub(group))[group]:  # noqa: ASYNC110  (Redis tells nobody)
            await asyncio.sleep(0.02)


async def test_server_killed__clients_resume_and_miss_nothing(site: Site) -> None:
    site.worker(CREATE)
    served = site.serve()
    worker = Worker(site.start_worker(FULL_SPEED, str(EVENTS), "1000", "1100", "2500"))
    assert await worker.says() == "ready"
    async with AsyncExitStack() as stack:
        followers = [
            await stack.enter_async_context(Follower(served.ws_url, "job-123", resumes=True)) for _ in range(3)
        ]
        await worker.go()
        assert await worker.says() == "1000"
        await worker.go()  # so that it goes on while the server dies
        served.kill()
        assert await worker.says() == "1100"
        await worker.go()
        assert await worker.says() == "2500"  # written while no server was there
        await asyncio.to_thread(served.start)
        for follower in followers:
            await follower.until(lambda: follower.connections == 2 and follower.frames[-1]["seq"] == 2499)  # noqa: B023
            assert follower.frames[-1]["recovered"] is True
        await worker.go()
        for follower in followers:
            await follower.until_finished()
            assert follower.seqs == list(range(2, EVENTS + 1))


async def test_rolled_back_transaction__is_shown_to_nobody(site: Site) -> None:
    site.worker(CREATE)
    served = site.serve()
    script = """
    from django.db import transaction
    from jobs.lifecycle import ProcessingJobLifecycle
    job = ProcessingJobLifecycle("job-123")
    job.mark_started()
    try:
        with transaction.atomic():
            job.mark_progress(50, message="never")
            job.mark_completed("never")
            raise RuntimeError
    except RuntimeError:
        job.mark_progress(60, message="after")
    job.mark_completed()
    """
    async with Follower(served.ws_url, "job-123") as follower:
        await asyncio.to_thread(site.worker, script)
        await follower.until_finished()
        assert [event["message"] for event in follower.events] == ["", "after", ""]
        assert follower.seqs == [2, 3, 4]


@pytest.mark.slow
async def test_two_servers__each_shows_the_same(site: Site) -> None:
    site.worker(CREATE)
    servers = [site.serve(), site.serve()]
    worker = Worker(site.start_worker(FULL_SPEED, "500"))
    assert await worker.says() == "ready"
    async with AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(Follower(each.ws_url, "job-123")) for each in servers]
        await worker.go()
        for follower in followers:
            await follower.until_finished()
            assert follower.seqs == list(range(2, 501))


TIMED = """
import statistics, time
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle.create()
job.mark_started()
took = []
for step in range(300):
    began = time.perf_counter()
    job.mark_progress(step % 100)
    took.append(time.perf_counter() - began)
job.mark_completed()
print(statistics.median(took), job.job.status, job.job.seq)
"""


def test_redis_down__reports_work_and_take_no_2_ms_more(sqlite_site: Site) -> None:
    for _ in range(ROUNDS):
        alone = sqlite_site.worker(TIMED).split()
        down = sqlite_site.worker(TIMED, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0").split()
        assert alone[1:] == down[1:] == ["completed", "303"]
        if float(down[0]) - float(alone[0]) < 0.002:
            return
    pytest.fail(f"{down[0]} s without a Redis that should be there, {alone[0]} s alone")


class _Clock(Follower):
    """Takes the time between an event's making and its coming."""

    def __init__(self, ws_url: str, job_id: str) -> None:
        super().__init__(ws_url, job_id)
        self.delays: list[float] = []

    async def _keep(self, socket: object) -> None:
        async for text in socket:  # type: ignore[attr-defined]
            now = time.time()
            frame = json.loads(text)
            if "sent" in frame.get("metadata", {}) and frame["status"] == "in_progress":
                self.delays.append(now - frame["metadata"]["sent"])
            self.frames.append(frame)
            async with self.news:
                self.news.notify_all()

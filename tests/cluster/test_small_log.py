"""Logs that are trimmed and compacted while clients come, go and resume: nothing is missing, and nothing comes twice.

The log's tail is shorter here than what the clients miss, so that recoveries are whole, or a snapshot, by chance.
"""

import asyncio
import contextlib
import json
import random
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from progress.protocol.codes import CloseCode
from tests.conftest import MakeSite
from tests.sampling import first_quick

JOB = "job-123"
CLIENTS = 8
SECONDS = 2.0  # of turmoil
WAIT_SECONDS = 20.0

# One job, attempt after attempt; what has ended is compacted while the next attempt begins.
WORKER = """
import random, sys, threading
from django.conf import settings
from django.db import connections
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, JobRun, ProcessingJob
from jobs.retention import compaction, trimming

settings.JOBS_LOG_TAIL, trimming.TRIM_EVERY = 150, 50
chance = random.Random(int(sys.argv[1]))
job = ProcessingJobLifecycle.create("job-123", public=True)
job.mark_started()
print("ready", flush=True)
stopped = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), stopped.set()), daemon=True).start()


def compact():
    try:
        compaction.compact("job-123", pause=lambda seconds: stopped.wait(min(seconds, 0.001)))
    finally:
        connections.close_all()


while not stopped.is_set():
    for number in range(chance.randint(100, 500)):
        job.mark_progress(current=number, total=1_000, message=f"at {job.job.seq + 1}")
        if number % 10 == 0:
            job.log(f"line {job.job.seq + 1}")
        if number % 100 == 0:
            job.mark_progress(stage=f"stage {number}", message=f"at {job.job.seq + 1}")
        stopped.wait(0.0005)
    job.mark_failed(f"at {job.job.seq + 1}")
    compacting = threading.Thread(target=compact)
    compacting.start()
    stopped.wait(chance.choice((0, 0.01, 0.3)))
    job.retry(f"at {job.job.seq + 1}")
    job.mark_started(f"at {job.job.seq + 1}")
    compacting.join()
for number in range(250):
    job.mark_progress(current=number, total=1_000, message=f"at {job.job.seq + 1}")
job.mark_completed(f"at {job.job.seq + 1}")
compaction.compact("job-123")
row = ProcessingJob.objects.get()
kept = list(JobEvent.objects.order_by("seq").values_list("seq", "kind"))
print(row.epoch, row.seq, row.floor, row.attempt, JobRun.objects.count(), sum(kind == "tick" for _, kind in kept))
"""


class Resync(Exception):
    """The floor has passed a replay of which something was sent: the client is to resume where it is."""


async def received(socket: ClientConnection) -> dict[str, Any]:
    try:
        frame: dict[str, Any] = json.loads(await socket.recv())
    except ConnectionClosed:
        if socket.close_code == CloseCode.RESYNC:
            raise Resync from None
        raise
    return frame


class Client:
    """One who comes and goes, resumes with log lines, and checks each frame."""

    def __init__(self, ws_url: str, number: int) -> None:
        self.url = f"{ws_url}/progress/ws"
        self.chance = random.Random(number)
        self.since: dict[str, Any] | None = None
        self.message = ""
        self.line: int | None = None  # the last one of those that come before a snapshot
        self.replayed = self.recoveries = self.snapshots = 0

    async def come_and_go(self, until: asyncio.Event) -> None:
        while not until.is_set():
            async with connect(self.url, max_queue=None, ping_interval=None) as socket:
                with contextlib.suppress(Resync):
                    await self.subscribe(socket)
                    await self.follow(socket, seconds=self.chance.uniform(0, 0.3))
            await asyncio.sleep(self.chance.uniform(0, 0.6))

    async def subscribe(self, socket: ClientConnection) -> None:
        """Subscribe, and take the answer: all that was missed and a snapshot that says so, or a snapshot alone."""
        asked = {"since": self.since} if self.since else {}
        await socket.send(json.dumps({"type": "subscribe", "job_id": JOB, "logs": True, **asked}))
        before = self.since and self.since["seq"]
        async with asyncio.timeout(WAIT_SECONDS):
            while (frame := await received(socket))["type"] != "snapshot":
                if frame["type"] != "heartbeat":  # one comes at any time, each 25 s
                    self.event(frame)
        if frame["recovered"]:
            assert self.since == {"epoch": frame["epoch"], "seq": frame["seq"]}
            assert self.message == frame["message"]
            self.recoveries += 1
            self.replayed += frame["seq"] - before
        else:
            assert self.since is None or self.since["seq"] == before, "no part before a snapshot"
            self.snapshots += before is not None
            self.snapshot(frame)

    async def follow(self, socket: ClientConnection, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    frame = await received(socket)
                    if frame["type"] == "snapshot":  # the server itself was behind the floor
                        assert frame["seq"] > self.since["seq"]
                        self.snapshot(frame)
                    elif frame["type"] in ("progress", "log", "backscroll"):
                        self.event(frame)
        except TimeoutError:
            pass

    def event(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "backscroll":
            assert "cut" not in frame
            self.line = self.since["seq"] if self.since else 0
            return
        if self.line is not None:
            assert (frame["type"], frame["text"]) == ("log", f"line {frame['seq']}")
            assert frame["seq"] > self.line, "none twice"
            self.line = frame["seq"]
            return
        assert self.since is not None
        assert "seq" in frame, frame
        assert frame["seq"] == self.since["seq"] + 1, "none missing, none twice"
        self.since["seq"] += 1
        if frame["type"] == "log":
            assert frame["text"] == f"line {frame['seq']}"
        else:
            assert frame["message"] == f"at {frame['seq']}"
            self.message = frame["message"]

    def snapshot(self, frame: dict[str, Any]) -> None:
        self.line = None
        self.since, self.message = {"epoch": frame["epoch"], "seq": frame["seq"]}, frame["message"]


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("backend", first_quick(["sqlite", "postgres", "postgres+redis"]))
async def test_compaction__beside_clients_that_resume(backend: str, make_site: MakeSite) -> None:
    site = make_site(backend, PROGRESS_RING_EVENTS="16")
    served = site.serve()
    worker = site.start_worker(WORKER, "7")
    clients = [Client(served.ws_url, number) for number in range(CLIENTS)]
    assert worker.stdout is not None
    assert worker.stdin is not None
    assert worker.stdout.readline().strip() == "ready"
    is_over = asyncio.Event()
    async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.come_and_go(is_over))
        await asyncio.sleep(SECONDS)
        is_over.set()
    printed, _ = await asyncio.to_thread(worker.communicate, "\n", WAIT_SECONDS)
    epoch, *numbers = printed.split()
    seq, floor, attempts, runs, ticks = map(int, numbers)
    assert (worker.returncode, floor, runs) == (0, seq, attempts)
    assert ticks <= 2 * attempts
    async with connect(clients[0].url, max_queue=None) as socket:
        await clients[0].subscribe(socket)
    assert (clients[0].since, clients[0].message) == ({"epoch": epoch, "seq": seq}, f"at {seq}")
    assert sum(client.recoveries for client in clients) > 0
    assert sum(client.snapshots for client in clients) > 0
    assert sum(client.replayed for client in clients) > 100

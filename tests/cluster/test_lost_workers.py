"""Workers that are killed or stopped, as processes: who notices, what becomes of their jobs, and who writes."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.conftest import MakeSite
from tests.installation import Site, finish
from tests.sampling import first_quick

WAIT_SECONDS = 40.0
SHOWN_SECONDS, RECOVERED_SECONDS = 35.0, 60.0  # after a kill, at most

on_both = pytest.mark.parametrize("backend", first_quick(["sqlite", "postgres"]))

# Times that are short, and long enough for a busy machine.
QUICK = """
import sys, threading, time
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.recovery import sweep, worker_lease
from jobs.reporting import Job, report_thread
worker_lease.TTL_SECONDS = sweep.TTL_SECONDS = 3.0
worker_lease.RENEW_SECONDS = 0.4
report_thread.ASK_SECONDS = 0.05
sweep.LOOK_SECONDS = sweep.LATE_LOOK_SECONDS = 0.1
sweep.GAP_SECONDS, sweep.LATE_SECONDS, sweep.GRACE_SECONDS = 2.0, 1.5, float(sys.argv[2])
"""
WORKER = """
job = Job(sys.argv[1])
try:
    with job.report(total=1_000_000) as report:
        print("begun", flush=True)
        for line in iter(sys.stdin.readline, ""):  # silent, until it is told to go on
            report.log("still there")
            report.advance()
            report.flush()
            if line == "end\\n":
                report.report(current=1_000_000)
                break
except Exception as error:
    print(type(error).__name__, flush=True)
"""
SWEEPER = """
from jobs.signals import job_requeued
job_requeued.connect(lambda job, **_: print("requeued", job.pk, job.attempt, flush=True), weak=False)
print("begun", flush=True)
while True:
    time.sleep(sweep.look().seconds)
"""
CREATE = """
import sys
from jobs.lifecycle import ProcessingJobLifecycle
for job_id in sys.argv[1:]:
    ProcessingJobLifecycle.create(job_id, public=True)
"""
# Whatever the process itself takes for the time is wrong.
WRONG_CLOCK = """
import datetime
from unittest import mock
from django.utils import timezone
now = timezone.now
timezone.now = lambda: now() + datetime.timedelta(minutes={minutes})
"""
# Processes that end as those of a pool do, which pass over what Python calls at the exit of others.
PROCESSES = """
import contextlib, multiprocessing, time
from django.db import connections, transaction
from jobs.leases import Worker
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Job
def done():
    with Job("job-1").report():
        while not Worker.objects.exists():
            time.sleep(0.01)
def rolled_back():
    with contextlib.suppress(ValueError), transaction.atomic():
        with Job("job-2").report():
            pass
        raise ValueError
for work in done, rolled_back:
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    print(process.exitcode, Worker.objects.count())
    connections.close_all()
print(*(ProcessingJobLifecycle(job_id).job.status for job_id in ("job-1", "job-2")))
"""
REQUEUE = json.dumps({"*": {"recovery": "requeue", "attempts": 2}})


def _state(thread: Path) -> str:
    """Return the state of a thread, as proc(5) has it: ``T`` if it is stopped."""
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


class Cast:
    """The processes of a test."""

    def __init__(self, site: Site, grace: float = 1.0) -> None:
        self.site, self.grace = site, grace

    def start(self, source: str, *arguments: str) -> "subprocess.Popen[str]":
        process = self.site.start_worker(QUICK + source, arguments[0] if arguments else "", f"{self.grace}")
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        return process

    def create(self, *job_ids: str) -> None:
        self.site.worker(CREATE, *job_ids)

    def until(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self, process: "subprocess.Popen[str]") -> None:
        """Stop a process, but not while it writes to SQLite: it would hold the lock, and nobody could write."""
        self._stop_all_threads(process.pid)
        while not self._can_write():
            os.kill(process.pid, signal.SIGCONT)
            time.sleep(0.02)
            self._stop_all_threads(process.pid)

    def _stop_all_threads(self, pid: int) -> None:
        """Stop a process; return once all its threads have: one may be about to get the lock when the signal comes."""
        os.kill(pid, signal.SIGSTOP)
        self.until(lambda: {_state(thread) for thread in Path(f"/proc/{pid}/task").iterdir()} == {"T"})

    def _can_write(self) -> bool:
        if not self.site.database_url.startswith("sqlite"):
            return True
        path = self.site.database_url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            connection.execute("ROLLBACK")
        return True

    def is_stalled(self, job_id: str) -> bool:
        return "stalled" in self.site.job(job_id)["metadata"]

    def was_stalled(self, job_id: str) -> bool:
        return any("stalled" in event["metadata"] for event in self.site.events(job_id))


def say(process: "subprocess.Popen[str]", word: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()


def heard(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@on_both
@pytest.mark.timeout(90)
def test_killed__is_shown_and_queued_again_and_another_goes_on(make_site: MakeSite, backend: str) -> None:
    cast = Cast(make_site(backend, JOBS_KINDS=REQUEUE))
    cast.create("job-1")
    sweeper, worker = cast.start(SWEEPER), cast.start(WORKER, "job-1")
    worker.kill()
    cast.until(lambda: cast.is_stalled("job-1"))
    mark = cast.site.job("job-1")["metadata"]["stalled"]
    assert (mark["then"], mark["attempt"], mark["of"]) == ("requeue", 2, 2)
    assert heard(sweeper) == "requeued job-1 2\n"
    successor = cast.start(WORKER, "job-1")
    say(successor, "end")
    assert finish(successor) == ""
    job, events = cast.site.job("job-1"), cast.site.events("job-1")
    assert (job["status"], job["attempt"], job["metadata"].get("stalled")) == ("completed", 2, None)
    assert [event["seq"] for event in events] == list(range(1, job["seq"] + 1))


@on_both
@pytest.mark.timeout(90)
def test_process__of_multiprocessing_ends_well(make_site: MakeSite, backend: str) -> None:
    cast = Cast(make_site(backend))
    cast.create("job-1", "job-2")
    assert cast.site.worker(PROCESSES).splitlines() == ["0 0", "0 0", "completed failed"]


@pytest.mark.slow
@on_both
def test_killed__is_found_by_other_workers_where_there_is_nobody_else(make_site: MakeSite, backend: str) -> None:
    cast = Cast(make_site(backend))
    cast.create("job-1", "job-2", "job-3")
    killed, *others = [cast.start(WORKER, f"job-{number}") for number in (1, 2, 3)]
    killed.kill()
    cast.until(lambda: cast.site.job("job-1")["status"] == "failed")
    assert cast.site.job("job-1")["error"].startswith("Its worker was lost: no sign of life for ")
    for number, other in zip((2, 3), others, strict=True):
        say(other, "end")
        assert finish(other) == ""
        assert cast.site.job(f"job-{number}")["status"] == "completed"
        assert not cast.was_stalled(f"job-{number}")


@on_both
@pytest.mark.timeout(90)
def test_stopped__for_long_and_going_on_writes_nothing(make_site: MakeSite, backend: str) -> None:
    cast = Cast(make_site(backend))
    cast.create("job-1")
    cast.start(SWEEPER)
    zombie = cast.start(WORKER, "job-1")
    cast.stop(zombie)
    cast.until(lambda: cast.site.job("job-1")["status"] == "failed")
    before = cast.site.events("job-1")
    say(zombie, "on")
    os.kill(zombie.pid, signal.SIGCONT)
    assert heard(zombie) == "StaleAttempt\n"
    assert finish(zombie) == ""
    assert cast.site.events("job-1") == before


@pytest.mark.slow
@on_both
@pytest.mark.timeout(90)
def test_stopped__for_a_while_is_shown_as_back_though_it_says_nothing(make_site: MakeSite, backend: str) -> None:
    cast = Cast(make_site(backend), grace=60.0)
    cast.create("job-1")
    cast.start(SWEEPER)
    worker = cast.start(WORKER, "job-1")
    cast.stop(worker)
    cast.until(lambda: cast.is_stalled("job-1"))
    os.kill(worker.pid, signal.SIGCONT)
    cast.until(lambda: not cast.is_stalled("job-1"))
    assert cast.site.job("job-1")["status"] == "in_progress"
    say(worker, "end")
    assert finish(worker) == ""
    assert cast.site.job("job-1")["status"] == "completed"


@pytest.mark.timeout(90)
def test_clocks__that_are_wrong_call_nobody_lost_and_hide_nobody(make_site: MakeSite) -> None:
    """The database's counts."""
    cast = Cast(make_site("postgres"))
    cast.create("job-1", "job-2")
    cast.start(WRONG_CLOCK.format(minutes=5) + SWEEPER)
    slow = cast.start(WRONG_CLOCK.format(minutes=-5) + WORKER, "job-1")
    fast = cast.start(WRONG_CLOCK.format(minutes=10) + WORKER, "job-2")
    fast.kill()
    cast.until(lambda: cast.site.job("job-2")["status"] == "failed")
    assert not cast.was_stalled("job-1")
    say(slow, "end")
    assert finish(slow) == ""
    assert cast.site.job("job-1")["status"] == "completed"


# In real time, as a watcher sees it


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("backend", ["sqlite", "postgres+redis"])
async def test_killed__all_workers_in_real_time(make_site: MakeSite, backend: str) -> None:
    site = make_site(backend, JOBS_KINDS=REQUEUE)
    server = await asyncio.to_thread(site.serve)
    source = "import sys, threading\n" + "from jobs.reporting import Job\n" + WORKER
    await asyncio.to_thread(Cast(site).create, "job-0", "job-1")
    workers = [await asyncio.to_thread(site.start_worker, source, f"job-{number}") for number in range(2)]
    for worker in workers:
        assert await asyncio.to_thread(heard, worker) == "begun\n"
    await asyncio.sleep(10)  # a renewal has come
    for worker in workers:
        worker.kill()
    began = time.monotonic()
    shown: dict[str, float] = {}
    recovered: dict[str, float] = {}
    async with asyncio.timeout(RECOVERED_SECONDS + 20), connect(f"{server.ws_url}/progress/ws") as socket:
        jobs = [{"job_id": f"job-{number}"} for number in range(2)]
        await socket.send(json.dumps({"type": "subscribe", "jobs": jobs}))
        while len(recovered) < 2:
            frame = json.loads(await socket.recv())
            if "stalled" in frame.get("metadata", {}):
                shown.setdefault(frame["job_id"], time.monotonic() - began)
            elif frame.get("status") == "queued":
                recovered.setdefault(frame["job_id"], time.monotonic() - began)
    print(f"{backend}: shown after {max(shown.values()):.1f} s, recovered after {max(recovered.values()):.1f} s")
    assert shown.keys() == recovered.keys()
    assert max(shown.values()) <= SHOWN_SECONDS
    assert max(recovered.values()) <= RECOVERED_SECONDS


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_stopped__for_two_minutes_in_real_time(make_site: MakeSite) -> None:
    site = make_site("sqlite")
    server = site.serve()
    cast = Cast(site)
    cast.create("job-1", "job-2")
    source = "import sys, threading\n" + "from jobs.reporting import Job\n" + WORKER
    zombie, other = (site.start_worker(source, f"job-{number}") for number in (1, 2))
    assert [heard(zombie), heard(other)] == ["begun\n"] * 2
    cast.stop(zombie)
    time.sleep(120)
    before = site.events("job-1")
    assert site.job("job-1")["status"] == "failed"
    say(zombie, "on")
    os.kill(zombie.pid, signal.SIGCONT)
    assert heard(zombie) == "StaleAttempt\n"
    assert site.events("job-1") == before
    assert not cast.was_stalled("job-2")
    assert server.running

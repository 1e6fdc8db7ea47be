"""Who comes late to a job that says a lot gets the last of it, then all that is new, whatever becomes of the socket."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.cluster.follower import WAIT_SECONDS, Worker
from tests.conftest import MakeSite

BEFORE, AFTER = 3_000, 3_000  # lines before somebody comes, and then

TALKING = """
import sys
from jobs.lifecycle import ProcessingJobLifecycle
method, before, after = sys.argv[1], *map(int, sys.argv[2:])
job = ProcessingJobLifecycle.create("job-123", public=True)
job.mark_started()
for number in range(before + after):
    if number == before:
        print("ready", flush=True); input()
    getattr(job, method)(f"line {number}")
    if number % 3 == 0:
        job.mark_progress(current=number, total=before + after)
job.mark_completed()
"""


class Reader:
    """Reads the lines of a job, and comes back with its position. It drops nothing, so what comes twice is seen."""

    def __init__(self, url: str, kind: str, wanted: str) -> None:
        self.url, self.kind, self.wanted = url, kind, wanted
        self.since: dict[str, Any] | None = None
        self.lines: list[int] = []
        self.is_over = False
        self.answers: list[dict[str, Any]] = []  # what came before each snapshot: how many lines, whether behind a cut

    async def read(self, most: int) -> None:
        """Read some lines by one connection, then lose it."""
        async with connect(f"{self.url}/progress/ws", max_queue=None, ping_interval=None) as socket:
            asked: dict[str, Any] = {"type": "subscribe", "job_id": "job-123", self.wanted: True}
            await socket.send(json.dumps(asked | ({"since": self.since} if self.since else {})))
            await self._until_answered(socket)
            end = len(self.lines) + most
            while len(self.lines) < end and not self.is_over:
                self._take(json.loads(await socket.recv()))
            socket.transport.abort()

    async def _until_answered(self, socket: ClientConnection) -> None:
        begun: dict[str, Any] = {}
        before = len(self.lines)
        while (frame := json.loads(await socket.recv()))["type"] != "snapshot":
            if frame["type"] == "backscroll":
                begun = frame
                self.since = self.since or {"epoch": frame["epoch"], "seq": 0}
            else:
                self._take(frame)
        self.answers.append({**begun, "recovered": frame["recovered"], "lines": len(self.lines) - before})
        assert self.since is not None
        self.since["seq"] = frame["seq"]

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] in (self.kind, "progress"):
            assert self.since is not None
            assert frame["seq"] > self.since["seq"], "in order, and once"
            self.since["seq"] = frame["seq"]
        if frame["type"] == self.kind:
            self.lines.append(int(frame["text"].removeprefix("line ")))
        self.is_over |= frame.get("status") == "completed"


@pytest.mark.parametrize(
    ("backend", "kind", "wanted", "known"),
    [
        ("sqlite", "log", "logs", 1_000),
        ("postgres+redis", "output", "output", BEFORE),
        pytest.param("postgres+redis", "log", "logs", 1_000, marks=pytest.mark.slow),
        pytest.param("sqlite", "output", "output", BEFORE, marks=pytest.mark.slow),
    ],
)
async def test_late__what_was_said_last_and_all_that_follows(
    backend: str, kind: str, wanted: str, known: int, make_site: MakeSite
) -> None:
    site = make_site(backend)
    served = site.serve()
    worker = Worker(site.start_worker(TALKING, kind, str(BEFORE), str(AFTER)))
    reader = Reader(served.ws_url, kind, wanted)
    async with asyncio.timeout(WAIT_SECONDS):
        assert await worker.says() == "ready"
        await worker.go()
        for most in (20, 300, 100_000):
            await reader.read(most)
    first, *others = reader.answers
    assert (first.get("cut"), first["recovered"]) == (["log"] if known < BEFORE else None, False)
    assert known <= first["lines"] < known + AFTER
    assert reader.lines[0] >= BEFORE - known
    assert reader.lines == list(range(reader.lines[0], BEFORE + AFTER)), "whole, in order, once"
    assert [answer["recovered"] for answer in others] == [True, True]
    assert await asyncio.to_thread(worker.process.wait, WAIT_SECONDS) == 0

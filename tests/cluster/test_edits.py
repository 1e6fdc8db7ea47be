"""An edit on two servers, made in a third process: who may no longer see the job is told at once, and nothing else."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.conftest import MakeSite
from tests.sampling import first_quick

SECONDS = 1.0  # from the commit to the last watcher; this bound is the promise itself

MAKE = """
from jobs.lifecycle import ProcessingJobLifecycle
for job_id in ("hidden", "kept"):
    lifecycle = ProcessingJobLifecycle.create(job_id, public=True)
    lifecycle.mark_started()
"""

EDIT = """
import time
from jobs.actors import Actor
from jobs.lifecycle import ProcessingJobLifecycle
hidden, kept = ProcessingJobLifecycle("hidden"), ProcessingJobLifecycle("kept")
hidden.mark_progress(10)
hidden.edit(public=False, by=Actor.command("hide"))
print(time.monotonic())
hidden.mark_progress(20)
kept.edit(name="renamed", by=Actor.command("hide"))
kept.mark_progress(20)
"""


async def read(socket: ClientConnection) -> tuple[list[Any], float]:
    """Return what comes until an error or a snapshot, and when that was."""
    frames: list[Any] = []
    while not frames or frames[-1]["type"] == "progress":
        frames.append(json.loads(await socket.recv()))
    return frames, time.monotonic()


@pytest.mark.parametrize("backend", first_quick(["postgres+redis", "sqlite"]))
async def test_edit__ends_who_may_no_longer_see_within_a_second(make_site: MakeSite, backend: str) -> None:
    site = make_site(backend)
    site.worker(MAKE)
    async with AsyncExitStack() as stack:
        sockets: dict[str, list[ClientConnection]] = {"hidden": [], "kept": []}
        for served in (site.serve(), site.serve()):
            for job_id, opened in sockets.items():
                socket = await stack.enter_async_context(connect(f"{served.ws_url}/progress/ws/{job_id}"))
                await read(socket)
                opened.append(socket)
        reading = [asyncio.ensure_future(read(each)) for each in (*sockets["hidden"], *sockets["kept"])]
        edited_at = float(await asyncio.to_thread(site.worker, EDIT))
        async with asyncio.timeout(10):
            *hidden, kept, also_kept = await asyncio.gather(*reading)
        for frames, ended_at in hidden:
            *events, error = frames
            assert error["code"] == "job_not_found"
            assert [event["seq"] for event in events] in ([], [3]), "nothing at the edit or behind it"
            assert ended_at - edited_at < SECONDS
            assert "hide" not in str(frames), "who did it is nobody's to see"
        for frames, _ in (kept, also_kept):
            *events, snapshot = frames
            assert [event["seq"] for event in events] == list(range(3, snapshot["seq"] + 1))
            assert (snapshot["name"], snapshot["recovered"]) == ("renamed", True)

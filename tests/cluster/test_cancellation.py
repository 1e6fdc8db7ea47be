"""A worker that does not answer a request to cancel, on real servers: its watchers are told, once, and on time."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.installation import Site

GRACE = 2.0
SETTINGS = {"JOBS_CANCEL_SECONDS": f"{GRACE:g}", "JOBS_HOUSEKEEPING_SECONDS": "86400"}
ASKED = """
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle.create("job-1", public=True)
job.mark_started()
job.request_cancel()
"""
LONG_AGO = """
from datetime import timedelta
from django.utils import timezone
from jobs.models import ProcessingJob
ProcessingJob.objects.update(cancel_requested_at=timezone.now() - timedelta(hours=1))
"""
ANSWERED = """
from jobs.lifecycle import ProcessingJobLifecycle
ProcessingJobLifecycle("job-1").mark_cancelled()
"""


async def until(socket: ClientConnection, found: Any) -> list[dict[str, Any]]:
    """Return the frames up to the first for which ``found`` is true."""
    frames = []
    async with asyncio.timeout(GRACE + 8):
        while not frames or not found(frames[-1]):
            frames += [frame for frame in [json.loads(await socket.recv())] if frame["type"] != "heartbeat"]
    return frames


def is_unanswered(frame: dict[str, Any]) -> bool:
    return bool(frame.get("metadata", {}).get("cancel_unanswered"))


async def test_unanswered__is_told_once_though_each_server_looks(site: Site) -> None:
    servers = [await asyncio.to_thread(site.serve, **SETTINGS) for _ in range(2)]
    await asyncio.to_thread(site.worker, ASKED)
    asked_at = time.monotonic()
    async with AsyncExitStack() as stack:
        path = "/progress/ws/job-1"
        sockets = [await stack.enter_async_context(connect(f"{server.ws_url}{path}")) for server in servers]
        told = [await until(socket, is_unanswered) for socket in sockets]
        assert time.monotonic() - asked_at < GRACE + 5
        await asyncio.to_thread(site.worker, ANSWERED)
        ends = [await until(socket, lambda frame: frame["status"] == "cancelled") for socket in sockets]
    for frames in told:
        assert frames[-1]["status"] == "in_progress"
        assert frames[-1]["message"].startswith("Cancellation requested ")
        assert frames[-1]["message"].endswith(" seconds ago; the worker has not answered")
    for frames in ends:
        assert [frame["type"] for frame in frames] == ["progress"]
        assert not is_unanswered(frames[-1])
    assert [event["status"] for event in site.events("job-1")].count("in_progress") == 3


@pytest.mark.slow
def test_housekeeping__once_records_it(sqlite_site: Site) -> None:
    sqlite_site.worker(ASKED + LONG_AGO)
    for _ in range(2):
        sqlite_site.manage("housekeeping", "--once")
    words = "Cancellation requested 1 hour ago; the worker has not answered"
    assert [event["message"] for event in sqlite_site.events("job-1")].count(words) == 1

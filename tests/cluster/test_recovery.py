"""A client that comes back gets all that it missed, in order, on each server; and behind a send that suspends."""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.installation import Kind, Site
from tests.sampling import first_quick

WAIT_SECONDS = 30.0  # for a whole recovery

# A job with ticks that were never told to a server, as if long ago.
JOB = """
import sys
from django.utils import timezone
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
events = int(sys.argv[1])
job = ProcessingJobLifecycle.create("job-123", public=True)
job.mark_started()
JobEvent.objects.bulk_create(
    JobEvent(
        job_id="job-123", seq=seq, kind="tick", status="in_progress", progress=seq / 100, timestamp=timezone.now(),
        message="x" * 200, metadata={},
    )
    for seq in range(3, events + 3)
)
ProcessingJob.objects.filter(pk="job-123").update(seq=events + 2, message="x" * 200)
print(job.job.epoch)
"""

# The site behind a middleware that awaits something before each message, as one that counts or traces may do.
SUSPENDING = """
import asyncio
from progress_site.asgi import application as site

async def application(scope, receive, send):
    async def send_later(message):
        await asyncio.sleep(0)
        await send(message)
    await site(scope, receive, send_later)
"""


@pytest.mark.parametrize("events", first_quick([3_000, 20]))
@pytest.mark.parametrize("suspends", first_quick({"plain": False, "suspending": True}))
@pytest.mark.parametrize("kind", first_quick(["serve", "daphne", "uvicorn", "hypercorn"], 3))
async def test_recovery__all_that_was_missed_in_order(
    kind: Kind, suspends: bool, events: int, sqlite_site: Site
) -> None:
    epoch = sqlite_site.worker(JOB, str(events)).strip()
    (sqlite_site.folder / "suspending.py").write_text(SUSPENDING)
    application = "suspending:application" if suspends else "progress_site.asgi:application"
    told = {"PYTHONPATH": str(sqlite_site.folder), "DJANGO_LOG_LEVEL": "DEBUG"}
    served = sqlite_site.serve(kind=kind, application=application, **told)
    url = f"{served.ws_url}/progress/ws/job-123?epoch={epoch}&seq=2"
    try:
        async with asyncio.timeout(WAIT_SECONDS), connect(url, max_queue=None, ping_interval=None) as socket:
            frames = [json.loads(await socket.recv())]
            while frames[-1]["type"] != "snapshot":
                frames.append(json.loads(await socket.recv()))
            assert [frame["seq"] for frame in frames] == [*range(3, events + 3), events + 2]
            assert frames[-1]["recovered"] is True
            await socket.send('{"type": "ping"}')
            assert json.loads(await socket.recv())["type"] == "pong"  # and nothing came behind the snapshot
    except ConnectionClosed as closed:
        closed.add_note(served.log_text()[-4_000:])
        raise

"""Our own application, with one more URL: the control message.

Runs as it is on stock Daphne and uvicorn (``benchmarks.peers.ours:application``) and, as
``python -m benchmarks.peers.ours``, on the server of ``manage.py serve``.
"""

import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from progress_site.asgi import application as site  # sets Django up, so it comes first

# isort: split
from django.conf import settings

from benchmarks import payload
from benchmarks.peers import drive
from benchmarks.peers.stamps import stamp_commits
from jobs.events import Event
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.states import EventKind
from progress.delivery import hubs

A_DAY = 86_400.0  # seconds


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer the control message, and leave everything else to the site."""
    if scope["type"] == "websocket" and scope["path"] == drive.PATH:
        await drive.answer_asgi(scope, receive, send, work)
    else:
        await site(scope, receive, send)


async def work(order: drive.Order) -> str:
    """Send events: committed ones through the database, or as from jobs in this process, past the database."""
    if order.writes:
        return await _write(order)
    # What goes past the database looks to the hub, once it compares, like a log that was set back.
    settings.PROGRESS_SYNC_SECONDS = A_DAY
    if order.own_jobs:
        return await _put_in_all(order)
    here = hubs.current()
    position = here.jobs[payload.JOB].position
    events = [_event(fields, position.epoch) for fields in order.messages(position.seq)]

    async def put(event: Event) -> None:
        here.arrivals.put(event)

    return await drive.run(order, events, put)


async def _put_in_all(order: drive.Order) -> str:
    """Let the same happen to every watched job; each event is made when it is due, since all would fill the memory."""
    here = hubs.current()
    # First the job that all the others watch: what the load client has to check of the rest does not delay it.
    ordered = sorted(here.jobs.items(), key=lambda item: item[0] != payload.JOB)
    begins = {job_id: job.position for job_id, job in ordered}

    async def put(number: int) -> None:
        for job_id, (epoch, seq) in begins.items():
            here.arrivals.put(_event(payload.fields(seq + number, order.size, job=job_id), epoch))

    return await drive.run(order, list(range(1, order.events + 1)), put)


def _event(fields: dict[str, Any], epoch: str) -> Event:
    moment = datetime.fromisoformat(fields["timestamp"]).astimezone(UTC)
    kept = {name: fields[name] for name in ("job_id", "status", "progress", "message", "metadata", "seq")}
    # A stage is never coalesced.
    return Event(epoch=epoch, kind=EventKind.STAGE, timestamp=moment, **kept)


async def _write(order: drive.Order) -> str:
    stamps = stamp_commits()
    lifecycle = ProcessingJobLifecycle(payload.JOB)
    send = _reporting(lifecycle)
    began = time.monotonic()
    await drive.run(order, order.messages(), send)
    return drive.report(began, stamps)


def _reporting(lifecycle: ProcessingJobLifecycle) -> Callable[[dict[str, Any]], Awaitable[None]]:
    async def send(fields: dict[str, Any]) -> None:
        await lifecycle.amark_progress(fields["progress"], message=fields["message"], stage="s3")

    return send


if __name__ == "__main__":
    from progress.transports.daphne.server import ServeCommandLine

    ServeCommandLine().run(["-b", "127.0.0.1", "-p", sys.argv[1], "-v", "0", "benchmarks.peers.ours:application"])

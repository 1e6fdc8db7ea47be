"""Our own application, with one more address: the control message.

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
from benchmarks import payload
from benchmarks.peers import drive
from benchmarks.peers.stamps import stamp_commits
from jobs.events import Event
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.states import EventKind
from progress import hub


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer the control message, and leave everything else to the site."""
    if scope["type"] == "websocket" and scope["path"] == drive.PATH:
        await drive.answer_asgi(scope, receive, send, work)
    else:
        await site(scope, receive, send)


async def work(order: drive.Order) -> str:
    """Send events: committed ones through the database, or as from a job in this process, past the database."""
    if order.writes:
        return await _write(order)
    here = hub.current()
    position = here.topics[payload.JOB].stream.position
    events = [_event(fields, position.epoch) for fields in order.messages(position.seq)]

    async def put(event: Event) -> None:
        here.put(event)

    return await drive.run(order, events, put)


def _event(fields: dict[str, Any], epoch: str) -> Event:
    moment = datetime.fromisoformat(fields["timestamp"]).astimezone(UTC)
    kept = {name: fields[name] for name in ("job_id", "status", "progress", "message", "metadata", "seq")}
    # A stage is never coalesced.
    return Event(epoch=epoch, kind=EventKind.STAGE, timestamp=moment, **kept)


async def _write(order: drive.Order) -> str:
    stamps = stamp_commits()
    lifecycle = ProcessingJobLifecycle(payload.JOB)
    send = _reporting(lifecycle)
    began, cpu = time.monotonic(), time.process_time()
    await drive.run(order, order.messages(), send)
    return drive.report(began, cpu, stamps)


def _reporting(lifecycle: ProcessingJobLifecycle) -> Callable[[dict[str, Any]], Awaitable[None]]:
    async def send(fields: dict[str, Any]) -> None:
        await lifecycle.amark_progress(fields["progress"], message=fields["message"], stage="s3")

    return send


if __name__ == "__main__":
    from progress.server import ServeCommandLine

    ServeCommandLine().run(["-b", "127.0.0.1", "-p", sys.argv[1], "-v", "0", "benchmarks.peers.ours:application"])

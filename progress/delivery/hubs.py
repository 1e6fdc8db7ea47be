"""The hubs of this process, one for each event loop in which somebody watches."""

import asyncio
import os
import threading
from typing import Any

from ..source.vocabulary import Event, EventKind
from .hub import Hub

_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}
_lock = threading.Lock()


def current() -> Hub:
    """Return the hub of the running event loop."""
    loop = asyncio.get_running_loop()
    with _lock:
        hub = _hubs.get(loop)
        if hub is None:
            for closed in [each for each in _hubs if each.is_closed()]:
                del _hubs[closed]
            hub = _hubs[loop] = Hub()
        return hub


def deliver(sender: Any, event: Event, **_: Any) -> None:
    """Receive `jobs.signals.job_event_committed`, in any thread: within a process, no channel layer is needed."""
    for hub in interested(event.job_id, event.kind):
        hub.arrivals.put(event)


def compare(sender: Any, job_id: str, **_: Any) -> None:
    """Receive `jobs.signals.job_deleted`, in any thread."""
    for hub in interested(job_id, EventKind.STATUS):
        hub.compare(job_id)


def interested(job_id: str, kind: EventKind) -> list[Hub]:
    """Return the hubs to which an event is of use; from any thread."""
    if not _hubs:
        return []
    with _lock:
        return [hub for hub in _hubs.values() if hub.wants(job_id, kind)]


def access_changed() -> None:
    """Have all hubs of this process ask soon who may see what; from any thread."""
    with _lock:
        hubs = list(_hubs.values())
    for hub in hubs:
        hub.access_changed()


def _after_fork() -> None:
    # The parent's event loops do not run in the child, which must not write to their wake-up pipes either.
    global _lock
    _lock = threading.Lock()
    _hubs.clear()


os.register_at_fork(after_in_child=_after_fork)

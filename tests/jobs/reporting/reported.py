"""What the tests of the reporter look at."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.signals import job_event_committed

WAIT_SECONDS = 10.0
MakeJob = Callable[..., ProcessingJobLifecycle]


def stored() -> ProcessingJob:
    return ProcessingJob.objects.get(pk="job-1")


@contextmanager
def told(**wanted: Any) -> Iterator[threading.Event]:
    """Yield what is set once an event has been committed whose fields or metadata are these."""
    has_come = threading.Event()

    def receive(event: Any, **_: Any) -> None:
        if all(getattr(event, name, event.metadata.get(name)) == value for name, value in wanted.items()):
            has_come.set()

    job_event_committed.connect(receive)
    try:
        yield has_come
    finally:
        job_event_committed.disconnect(receive)


def events(*kinds: str) -> list[Any]:
    return list(JobEvent.objects.filter(kind__in=kinds).order_by("seq"))


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(0)
        yield number


async def ended(event: threading.Event) -> bool:
    return await asyncio.to_thread(event.wait, WAIT_SECONDS)

"""Asynchronous loops that report themselves."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from jobs.reporting import Job, atrack
from tests.jobs.reporting.reported import WAIT_SECONDS, MakeJob, ended, numbers, stored, told

pytestmark = pytest.mark.django_db(transaction=True)


def test_loop__completes_with_its_last_item(make_job: MakeJob) -> None:
    async def work() -> list[list[Any]]:
        return [[item async for item in job.atrack(items, unit="rows")] for job, items in jobs]

    jobs: list[Any] = [(Job(make_job("a").job), ["x", "y"]), (Job(make_job("b").job), numbers(2))]
    assert asyncio.run(work()) == [["x", "y"], [0, 1]]
    ended = ProcessingJob.objects.order_by("pk")
    assert [(job.status, job.metadata["current"], job.metadata.get("total")) for job in ended] == [
        ("completed", 2, 2),
        ("completed", 2, None),
    ]


def test_loop__that_is_over_yields_nothing_more(job: ProcessingJobLifecycle) -> None:
    async def work() -> None:
        items = atrack([1], job)
        assert [item async for item in items] == [1]
        assert [item async for item in items] == []

    asyncio.run(work())
    assert stored().status == "completed"


async def left_by_break(items: AsyncIterator[int]) -> None:
    async for _ in items:
        break


async def left_by_exception(items: AsyncIterator[int]) -> None:
    async for _ in items:
        raise ValueError("row 1 is bad")


async def closed(items: Any) -> None:
    async with contextlib.aclosing(items):
        await anext(items)


@pytest.mark.parametrize("leave", [left_by_break, left_by_exception, closed])
def test_loop__that_is_left_fails_and_says_how_far_it_was(
    job: ProcessingJobLifecycle, leave: Callable[[Any], Awaitable[None]]
) -> None:
    async def work() -> None:
        with contextlib.suppress(ValueError):
            await leave(atrack([1, 2, 3], job, unit="rows"))
        gc.collect()
        assert await ended(has_failed)

    with told(status="failed") as has_failed:
        asyncio.run(work())
    assert stored().error == "The loop was left after 0 of 3 rows, by an exception, return or break"


def test_loop__whose_task_is_cancelled_says_so(job: ProcessingJobLifecycle) -> None:
    async def work() -> None:
        async for _ in atrack([1, 2, 3], job):
            has_begun.set()
            await asyncio.sleep(3600)

    async def main() -> None:
        task = asyncio.create_task(work())
        await has_begun.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert await ended(has_failed)

    has_begun = asyncio.Event()
    with told(status="failed") as has_failed:
        asyncio.run(main())
    assert stored().error == "CancelledError: The asyncio task was cancelled"


def test_loop__fails_with_what_its_items_raise(job: ProcessingJobLifecycle) -> None:
    async def bad() -> AsyncIterator[int]:
        yield 1
        raise OSError("no more")

    async def work() -> None:
        async for _ in atrack(bad(), job):
            pass

    with pytest.raises(OSError, match="no more"):
        asyncio.run(work())
    assert (stored().status, stored().error) == ("failed", "OSError: no more")


def test_loop__just_ends_when_the_job_is_cancelled(job: ProcessingJobLifecycle) -> None:
    async def endless() -> AsyncIterator[int]:
        while True:
            await asyncio.sleep(0.01)
            yield 1

    async def work() -> str:
        async for _ in atrack(endless(), job):
            await ProcessingJobLifecycle("job-1").arequest_cancel()
        return "behind"

    assert asyncio.run(asyncio.wait_for(work(), WAIT_SECONDS)) == "behind"
    assert stored().status == "cancelled"

"""Asynchronous runs that nobody goes on with: their event loop has ended, their process, or they are garbage."""

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Reporter, atrack
from tests.installation import Site
from tests.jobs.reporting.reported import WAIT_SECONDS, ended, stored, told

pytestmark = pytest.mark.django_db(transaction=True)


def test_loop__that_is_left_after_its_event_loop_has_ended(job: ProcessingJobLifecycle) -> None:
    async def begin() -> Any:
        items = atrack([1, 2, 3], job)
        await anext(items)
        await anext(items)
        return items

    items = [asyncio.run(begin())]
    assert stored().status == "in_progress"
    with told(status="failed") as has_failed:
        items.clear()
        gc.collect()
        assert has_failed.wait(WAIT_SECONDS)
    assert stored().error.startswith("The loop was left after 1 of 3 items")


def test_loop__that_is_collected_in_a_forked_child_goes_on(job: ProcessingJobLifecycle) -> None:
    async def begin() -> None:
        await anext(items[0])

    async def go_on() -> list[int]:
        return [item async for item in items[0]]

    items: list[Any] = [atrack([1, 2], job)]
    asyncio.run(begin())
    child = os.fork()
    if child == 0:
        items.clear()
        gc.collect()
        os._exit(threading.active_count() - 1)  # one that writes, say
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert asyncio.run(go_on()) == [2]
    assert stored().status == "completed"


def test_loop__that_is_left_as_the_process_ends_has_ended(sqlite_site: Site) -> None:
    sqlite_site.worker("""
        import asyncio
        from jobs.reporting import Job

        async def work():
            async for row in (await Job.acreate("job-1")).atrack([1, 2, 3], unit="rows"):
                if row == 2:
                    break

        asyncio.run(work())
    """)
    job = sqlite_site.job("job-1")
    assert (job["status"], job["error"]) == (
        "failed",
        "The loop was left after 1 of 3 rows, by an exception, return or break",
    )


async def generator_with_block(job: Any) -> AsyncIterator[int]:
    async with Reporter(job, total=3):
        yield 1
        yield 2


def test_generator__that_is_left_ends_the_block_in_it(job: ProcessingJobLifecycle) -> None:
    async def work() -> None:
        async for _ in generator_with_block(job):
            break
        assert await ended(has_failed)

    with told(status="failed") as has_failed:
        asyncio.run(work())
    assert stored().error.startswith("The loop was left after 0 of 3")


def test_generator__whose_event_loop_is_closed_ends_the_block_in_it(job: ProcessingJobLifecycle) -> None:
    loop = asyncio.new_event_loop()
    items: list[Any] = [generator_with_block(job)]

    async def begin() -> None:
        assert await anext(items[0]) == 1

    loop.run_until_complete(begin())
    loop.close()
    with told(status="failed") as has_failed:
        items.clear()
        gc.collect()
        assert has_failed.wait(WAIT_SECONDS)
    assert stored().error.startswith("The loop was left after 0 of 3")


def test_coroutine__that_nobody_goes_on_with_ends_its_block(job: ProcessingJobLifecycle) -> None:
    async def work() -> None:
        async with Reporter(job, total=3):
            has_begun.set()
            await asyncio.Event().wait()

    has_begun, loop = asyncio.Event(), asyncio.new_event_loop()
    tasks = [loop.create_task(work())]
    loop.run_until_complete(has_begun.wait())
    loop.close()
    with told(status="failed") as has_failed:
        tasks.clear()
        gc.collect()
        assert has_failed.wait(WAIT_SECONDS)
    assert stored().error.startswith("The loop was left after 0 of 3")

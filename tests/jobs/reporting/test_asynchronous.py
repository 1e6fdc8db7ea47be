"""Runs in asynchronous code."""

import asyncio
import contextlib
import gc
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction

from jobs.exceptions import JobCancelled
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.reporting import Job, Reporter, asynchronous, atrack
from tests.installation import Site
from tests.jobs.reporting.reported import MakeJob, stored
from tests.jobs.reporting.test_report_thread import WAIT_SECONDS, told

pytestmark = pytest.mark.django_db(transaction=True)


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(0)
        yield number


async def ended(event: threading.Event) -> bool:
    return await asyncio.to_thread(event.wait, WAIT_SECONDS)


# A block


def test_block__completes_on_exit(job: ProcessingJobLifecycle) -> None:
    async def work() -> None:
        async with Reporter(job, total=3, unit="files") as report:
            report.advance(2)
            report.report(stage="last")
            report.log("a line")
            report.advance()
            report.result = {"files": 3}

    asyncio.run(work())
    done = stored()
    assert (done.status, done.result, done.metadata["current"]) == ("completed", {"files": 3}, 3)
    assert list(JobEvent.objects.filter(kind="log").values_list("message", flat=True)) == ["a line"]


def test_block__is_counted_by_loops_of_both_kinds(job: ProcessingJobLifecycle) -> None:
    async def work() -> None:
        async with Reporter(job) as report:
            async for _ in report.atrack(numbers(3)):
                pass
            async for _ in report.atrack([1, 2]):
                report.advance()
            for _ in report.track([1, 2]):
                pass
            async for number in report.atrack([1, 2]):
                if number == 2:
                    break

    asyncio.run(work())
    assert (stored().status, stored().metadata["current"]) == ("completed", 3 + 4 + 2 + 1)


def test_block__fails_with_its_exception(job: ProcessingJobLifecycle) -> None:
    async def work() -> None:
        async with Reporter(job):
            raise KeyError("missing")

    with pytest.raises(KeyError):
        asyncio.run(work())
    assert (stored().status, stored().error) == ("failed", "KeyError: 'missing'")


def test_block__start_and_end_do_not_hold_up_the_loop(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    async def work() -> None:
        for name in ("mark_started", "mark_completed"):
            monkeypatch.setattr(job, name, waiting(getattr(job, name), asyncio.get_running_loop()))
        async with Reporter(job):
            pass

    def waiting(method: Any, loop: asyncio.AbstractEventLoop) -> Any:
        def then(**arguments: Any) -> None:
            loop.call_soon_threadsafe(goes_on.set)
            assert goes_on.wait(WAIT_SECONDS), "the event loop stands still"
            goes_on.clear()
            method(**arguments)

        return then

    goes_on = threading.Event()
    asyncio.run(work())
    assert stored().status == "completed"


def test_block__cancellation_of_the_job_ends_it_and_goes_no_further(job: ProcessingJobLifecycle) -> None:
    async def work() -> str:
        async with Reporter(job, total=9) as report:
            await ProcessingJobLifecycle("job-1").arequest_cancel()
            while True:
                await asyncio.sleep(0.01)
                report.advance(0)
        return "behind"

    assert asyncio.run(asyncio.wait_for(work(), WAIT_SECONDS)) == "behind"
    assert stored().status == "cancelled"


def test_block__of_a_job_that_was_cancelled_while_it_waited(job: ProcessingJobLifecycle) -> None:
    async def work() -> None:
        async with Reporter("job-1"):
            raise AssertionError("the body runs")

    job.request_cancel()
    with pytest.raises(JobCancelled):
        asyncio.run(work())


def test_block__that_would_block_the_event_loop_is_refused(job: ProcessingJobLifecycle) -> None:
    async def work() -> None:
        with Reporter("job-1"):
            raise AssertionError("the body runs")

    with pytest.raises(SynchronousOnlyOperation):
        asyncio.run(work())
    assert stored().status == "pending"


@pytest.mark.parametrize(
    ("words", "error"), [(None, "CancelledError: The asyncio task was cancelled"), ("late", "CancelledError: late")]
)
def test_task__that_is_cancelled_fails_its_job(job: ProcessingJobLifecycle, words: Any, error: str) -> None:
    async def work() -> None:
        async with Reporter(job):
            has_begun.set()
            await asyncio.sleep(3600)

    async def main() -> None:
        task = asyncio.create_task(work())
        await has_begun.wait()
        task.cancel(words)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()

    has_begun = asyncio.Event()
    asyncio.run(main())
    assert (stored().status, stored().error) == ("failed", error)


def test_task__that_is_cancelled_since_the_job_is_to_be_cancels_that(job: ProcessingJobLifecycle) -> None:
    async def work() -> None:
        async with Reporter(job):
            await ProcessingJobLifecycle("job-1").arequest_cancel()
            raise asyncio.CancelledError

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await work()

    asyncio.run(main())
    assert stored().status == "cancelled"


@pytest.mark.parametrize("is_late", [False, True])
def test_task__that_is_cancelled_while_it_begins_leaves_no_job_running(
    job: ProcessingJobLifecycle, monkeypatch: Any, is_late: bool
) -> None:
    """Late: it has begun, but the event loop does not know yet."""

    def begin(self: Any, waiting: Any) -> None:
        if is_late:
            begin_for(self, waiting)
        is_in_thread.set()
        assert is_cancelled.wait(WAIT_SECONDS)
        if not is_late:
            begin_for(self, waiting)

    async def work() -> None:
        async with Reporter(job):
            raise AssertionError("the body runs")

    async def main() -> None:
        task = asyncio.create_task(work())
        await ended(is_in_thread)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        is_cancelled.set()
        assert await ended(has_failed)

    is_in_thread, is_cancelled = threading.Event(), threading.Event()
    begin_for = asynchronous.AsyncBlock._begin_for
    monkeypatch.setattr(asynchronous.AsyncBlock, "_begin_for", begin)
    with told(status="failed") as has_failed:
        asyncio.run(main())
    assert stored().error.startswith("CancelledError")


def test_task__whose_end_is_waited_for_may_be_cancelled_once_more(
    job: ProcessingJobLifecycle, monkeypatch: Any
) -> None:
    async def work() -> None:
        async with Reporter(job):
            has_begun.set()
            await asyncio.sleep(3600)

    def end(self: Any, error: Any) -> Any:
        is_ending.set()
        assert may_go_on.wait(WAIT_SECONDS)
        return end_run(self, error)

    async def main() -> None:
        task = asyncio.create_task(work())
        await has_begun.wait()
        task.cancel()
        await ended(is_ending)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        may_go_on.set()
        assert await ended(has_failed)

    has_begun, is_ending, may_go_on = asyncio.Event(), threading.Event(), threading.Event()
    end_run = Reporter._end_run
    monkeypatch.setattr(Reporter, "_end_run", end)
    with told(status="failed") as has_failed:
        asyncio.run(main())


# A loop


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


# In a transaction of synchronous code


def test_transaction__of_the_caller_is_written_in_its_thread(job: ProcessingJobLifecycle) -> None:
    async def work() -> None:
        async with Reporter("job-1", total=9) as report:
            report.advance(2)
            await report.aflush()
            report.advance(7)

    with transaction.atomic():
        async_to_sync(work)()
    assert (stored().status, stored().metadata["current"]) == ("completed", 9)


@pytest.mark.django_db(transaction=False)
class TestInATestsTransaction:
    def test_reports__show_meanwhile(self, job: ProcessingJobLifecycle) -> None:
        async def work() -> int:
            async with Reporter("job-1", total=9) as report:
                report.advance(2)
                for _ in range(1000):
                    current = (await ProcessingJob.objects.aget(pk="job-1")).metadata.get("current")
                    if current == 2:
                        break
                    await asyncio.sleep(0.01)
                report.advance(7)
            return current

        assert async_to_sync(work)() == 2
        assert (stored().status, stored().metadata["current"]) == ("completed", 9)

    def test_cancellation__is_heard_of(self, job: ProcessingJobLifecycle) -> None:
        async def work() -> None:
            async with Reporter("job-1", total=9) as report:
                await ProcessingJobLifecycle("job-1").arequest_cancel()
                for _ in range(1000):
                    await asyncio.sleep(0.01)
                    report.advance()
                raise AssertionError("it goes on")

        async_to_sync(work)()
        assert stored().status == "cancelled"

    def test_loop__that_is_left_fails(self, job: ProcessingJobLifecycle) -> None:
        async def work() -> str:
            async for _ in atrack([1, 2, 3], "job-1"):
                break
            for _ in range(1000):
                status = (await ProcessingJob.objects.aget(pk="job-1")).status
                if status == "failed":
                    break
                await asyncio.sleep(0.01)
            return status

        assert async_to_sync(work)() == "failed"

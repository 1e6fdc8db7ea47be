"""Runs whose code is asynchronous: a block, the task that it is in, a transaction of synchronous code."""

import asyncio
import contextlib
import threading
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction

from jobs.exceptions import JobCancelled
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.reporting import Reporter, asynchronous, atrack, synchronous
from tests.jobs.reporting.reported import WAIT_SECONDS, ended, numbers, stored, told

pytestmark = pytest.mark.django_db(transaction=True)


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


def test_block__that_writes_its_own_reports_hears_of_a_cancellation_though_it_counts_nothing_new(
    job: ProcessingJobLifecycle, monkeypatch: Any
) -> None:
    monkeypatch.setattr(synchronous, "can_be_written_beside", lambda *_: False)

    async def work() -> None:
        async with Reporter(job, total=9) as report:
            await ProcessingJobLifecycle("job-1").arequest_cancel()
            while True:
                await asyncio.sleep(0.01)
                report.advance(0)

    asyncio.run(asyncio.wait_for(work(), WAIT_SECONDS))
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

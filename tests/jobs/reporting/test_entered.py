"""Which reporter the code is in."""

import asyncio
import gc
import threading
from typing import Any

import pytest

from jobs.reporting import Reporter, current_reporter, track
from tests.jobs.reporting.reported import MakeJob

pytestmark = pytest.mark.django_db


def test_current_reporter__is_the_one_of_the_inner_block(make_job: MakeJob) -> None:
    assert current_reporter() is None
    with Reporter(make_job()) as outer:
        assert current_reporter() is outer
        with Reporter(make_job()) as inner:
            assert current_reporter() is inner
        assert current_reporter() is outer
    assert current_reporter() is None


def test_current_reporter__in_the_body_of_a_loop(make_job: MakeJob) -> None:
    for _ in track([1], job := make_job()):
        report = current_reporter()
        assert report is not None
        assert report.lifecycle is job
    assert current_reporter() is None


def test_current_reporter__of_loops_that_end_in_another_order(make_job: MakeJob) -> None:
    first, second = track([1], make_job("a")), track([1, 2], make_job("b"))
    next(first)
    next(second)
    assert list(first) == []
    report = current_reporter()
    assert report is not None
    assert report.lifecycle.job_id == "b"
    assert list(second) == [2]
    assert current_reporter() is None


@pytest.mark.django_db(transaction=True)
def test_current_reporter__that_was_left_elsewhere(make_job: MakeJob) -> None:
    report = Reporter(make_job())  # which is kept, so that it is not since it is gone
    report.__enter__()
    leaving = threading.Thread(target=report.__exit__, args=(None, None, None))
    leaving.start()
    leaving.join()
    assert current_reporter() is None


def test_current_reporter__is_not_inherited_by_threads(make_job: MakeJob) -> None:
    seen: list[Any] = []
    with Reporter(make_job()):
        thread = threading.Thread(target=lambda: seen.append(current_reporter()))
        thread.start()
        thread.join()
    assert seen == [None]


@pytest.mark.django_db(transaction=True)
async def test_current_reporter__of_asyncio_tasks_and_their_threads(make_job: MakeJob) -> None:
    async def within() -> tuple[Any, Any]:
        return current_reporter(), await asyncio.to_thread(current_reporter)

    first, second = [await asyncio.to_thread(make_job) for _ in range(2)]
    async with Reporter(first) as outer:
        inside = asyncio.create_task(within())
        async with Reporter(second) as inner:
            assert await within() == (inner, inner)
        assert await inside == (outer, outer)
        late = asyncio.create_task(within())
    assert await late == (None, None), "it has ended meanwhile"


def test_current_reporter__keeps_no_reporter_alive(make_job: MakeJob) -> None:
    report = Reporter(make_job("job-1")).__enter__()
    gc.disable()
    try:
        del report
    finally:
        gc.enable()
    assert current_reporter() is None

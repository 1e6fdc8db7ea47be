"""Bars of tqdm that are a job's progress."""

import asyncio
import gc
from typing import Any

import pytest

from jobs.exceptions import JobCancelled
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.reporting import Job, Reporter
from jobs.reporting.tqdm import tqdm, trange
from tests.jobs.reporting.reported import MakeJob, stored

pytestmark = pytest.mark.django_db


def stages() -> list[str]:
    events = JobEvent.objects.filter(job_id="job-1", kind="stage").order_by("seq")
    return [event.metadata["stage"] for event in events]


def messages() -> list[str]:
    said = JobEvent.objects.filter(job_id="job-1").order_by("seq").values_list("message", flat=True)
    return list(dict.fromkeys(filter(None, said)))


def state() -> tuple[str, Any, Any]:
    job = stored()
    return job.status, job.metadata.get("current"), job.metadata.get("total")


# A bar that is a run


def test_loop__is_a_run(job: ProcessingJobLifecycle, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(tqdm(["a", "b", "c"], "Import", job=job, unit="rows")) == ["a", "b", "c"]
    assert state() == ("completed", 3, 3)
    assert (stored().metadata["unit"], stages()) == ("rows", ["Import"])
    shown = capsys.readouterr().err
    assert "Import: 100%|" in shown
    assert "3/3" in shown


def test_loop__without_a_length(job: ProcessingJobLifecycle) -> None:
    assert list(tqdm(iter("abc"), job="job-1")) == ["a", "b", "c"]
    assert state() == ("completed", 3, None)
    assert stored().metadata["unit"] == "items"


def test_range(job: ProcessingJobLifecycle) -> None:
    assert list(trange(1, 4, job=job)) == [1, 2, 3]
    assert state() == ("completed", 3, 3)


def left(items: Any, by: Exception | None = None) -> None:
    for _ in items:
        if by is not None:
            raise by
        break


def test_loop__that_is_left_fails_as_track_does(job: ProcessingJobLifecycle) -> None:
    left(tqdm(["a", "b", "c"], job=job))
    assert (stored().status, stored().error) == (
        "failed",
        "The loop was left after 0 of 3 items, by an exception, return or break",
    )


def test_loop__in_a_block_of_its_own_completes_where_it_is_left(make_job: MakeJob) -> None:
    for number, by in enumerate((None, ValueError("row 1 is bad"))):
        try:
            with tqdm(["a", "b"], job=make_job(f"job-{number}")) as bar:
                left(bar, by)
        except ValueError:
            pass
    ended = ProcessingJob.objects.order_by("pk").values_list("status", "error")
    assert list(ended) == [("completed", ""), ("failed", "ValueError: row 1 is bad")]


@pytest.mark.usefixtures("_every_report")
def test_loop__just_ends_when_the_job_is_cancelled(job: ProcessingJobLifecycle) -> None:
    seen = []
    for item in tqdm(range(9), job=job):
        seen.append(item)
        ProcessingJobLifecycle("job-1").request_cancel()
    assert seen == [0]
    assert stored().status == "cancelled"


@pytest.mark.usefixtures("_every_report")
def test_loop__is_counted_however_seldom_the_bar_is_drawn(job: ProcessingJobLifecycle) -> None:
    for done, _ in enumerate(tqdm(range(5), job=job, mininterval=3600, miniters=1_000_000)):
        assert stored().metadata["current"] == done


def test_bar__that_is_updated_by_hand(job: ProcessingJobLifecycle) -> None:
    bar = tqdm(total=10, job=job, initial=2)
    assert stored().status == "in_progress"
    bar.update(3)
    bar.update(5)
    assert stored().status == "in_progress"
    bar.close()
    bar.close()
    bar.update()
    assert state() == ("completed", 10, 10)


@pytest.mark.usefixtures("_every_report")
def test_bar__can_be_set_and_reset(job: ProcessingJobLifecycle) -> None:
    with tqdm(total=10, job=job) as bar:
        bar.n = 7
        bar.refresh()
        bar.update(0)
        assert state() == ("in_progress", 7, 10)
        bar.reset(total=4)
        bar.update(1)
        assert state() == ("in_progress", 1, 4)
        bar.total = 6
        bar.update(1)
        assert state() == ("in_progress", 2, 6)


def test_bar__closed_by_an_exception_fails(job: ProcessingJobLifecycle) -> None:
    """As pandas closes it."""

    def work() -> None:
        bar = tqdm(total=10, job=job)
        try:
            bar.update(3)
            raise ValueError("row 4 is bad")
        finally:
            bar.close()

    with pytest.raises(ValueError, match="row 4"):
        work()
    assert (stored().status, stored().error) == ("failed", "ValueError: row 4 is bad")


def test_bar__is_not_failed_by_what_was_handled_before(job: ProcessingJobLifecycle) -> None:
    try:
        raise ValueError("of before")
    except ValueError:
        bar = tqdm(total=10, job=job)
        bar.close()
    assert stored().status == "completed"


def test_bar__that_nobody_closes_fails(job: ProcessingJobLifecycle) -> None:
    bar = tqdm(total=10, job=job)
    bar.update(3)
    del bar
    gc.collect()
    assert stored().error.startswith("The loop was left after 3 of 10 items")


@pytest.mark.usefixtures("_every_report")
def test_bar__raises_a_cancellation(job: ProcessingJobLifecycle) -> None:
    with tqdm(total=10, job=job) as bar:
        ProcessingJobLifecycle("job-1").request_cancel()
        bar.refresh()  # which tqdm's own thread does as well
        bar.update()
        raise AssertionError("it goes on")
    assert stored().status == "cancelled"


def test_bar__of_a_job_that_was_cancelled_while_it_waited(job: ProcessingJobLifecycle) -> None:
    job.request_cancel()
    with pytest.raises(JobCancelled):
        tqdm(total=10, job=job)
    with pytest.raises(JobCancelled):
        list(tqdm([1], job=job))


# What it says


@pytest.mark.usefixtures("_every_report")
def test_description__that_comes_later_is_a_message_as_a_postfix_is(job: ProcessingJobLifecycle) -> None:
    with tqdm(total=3, desc="Convert", job=job, postfix={"bad": 0}) as bar:
        bar.update()
        bar.set_description("Convert a.txt")
        bar.update()
        bar.set_postfix(bad=1)
        bar.update()
        bar.set_description("Convert")
        bar.set_postfix_str("")
        bar.update()
    assert stages() == ["Convert"]
    assert messages() == ["bad=0", "Convert a.txt, bad=0", "Convert a.txt, bad=1"]


# Where it is not seen, or is none


def test_disabled__reports_nothing(job: ProcessingJobLifecycle) -> None:
    assert list(tqdm([1, 2], job=job, disable=True)) == [1, 2]
    bar = tqdm(total=2, job=job, disable=True)
    bar.update()
    bar.close()
    assert stored().status == "pending"


def test_disabled__without_a_terminal_reports_all_the_same(
    job: ProcessingJobLifecycle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(tqdm([1, 2], job=job, disable=None)) == [1, 2]
    assert state() == ("completed", 2, 2)
    assert capsys.readouterr().err == ""


def test_bar__without_a_job_is_tqdms(job: ProcessingJobLifecycle, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(tqdm([1, 2])) == [1, 2]
    assert list(tqdm([1, 2], disable=None)) == [1, 2]
    with tqdm(total=2) as bar:
        bar.update(2)
    assert "2/2" in capsys.readouterr().err
    assert stored().status == "pending"


# Of the current reporter


def test_bars__count_for_the_current_reporter_one_after_another(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        assert list(tqdm(range(3), desc="Load")) == [0, 1, 2]
        report.flush()
        assert state() == ("in_progress", 3, 3)
        for item in tqdm(range(5), desc="Save"):
            if item == 4:
                break
        report.flush()
        assert state() == ("in_progress", 4, 5)
    assert stages() == ["Load", "Save"]
    assert stored().status == "completed"


@pytest.mark.usefixtures("_every_report")
@pytest.mark.parametrize("job_of_inner", [None, "job-1"])
def test_bars__within_a_bar_count_for_nothing(job: ProcessingJobLifecycle, job_of_inner: Any) -> None:
    for done, _ in enumerate(tqdm(range(3), desc="Files", job=job)):
        for _ in tqdm(range(50), desc="Lines", job=job_of_inner):
            pass
        with tqdm(total=7, job=job_of_inner) as inner:
            inner.update(7)
        assert state() == ("in_progress", done, 3)
    assert stages() == ["Files"]
    assert state() == ("completed", 3, 3)


def test_bars__within_a_bar_of_a_reporter_count_for_nothing(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        for _ in tqdm(range(3)):
            for _ in tqdm(range(50)):
                pass
        report.flush()
        assert state() == ("in_progress", 3, 3)


def test_bar__of_a_given_reporter(job: ProcessingJobLifecycle) -> None:
    with Job("job-1").report() as report, tqdm(total=3, job=report) as bar:
        bar.update(2)
        bar.close()
        report.flush()
        assert state() == ("in_progress", 2, 3)


def test_bar__in_a_block_of_another_job_is_a_run_of_its_own(make_job: MakeJob) -> None:
    with Reporter(make_job("outer")):
        list(tqdm(range(3), job=make_job("job-1")))
    assert state() == ("completed", 3, 3)


@pytest.mark.usefixtures("_every_report")
def test_bar__raises_the_cancellation_of_its_reporter(job: ProcessingJobLifecycle) -> None:
    with Reporter(job):
        for _ in tqdm(range(9)):
            ProcessingJobLifecycle("job-1").request_cancel()
        raise AssertionError("it goes on")
    assert stored().status == "cancelled"


def test_bar__that_outlives_its_reporter_goes_on(job: ProcessingJobLifecycle) -> None:
    with Reporter(job):
        bar, late = tqdm(total=3), tqdm(range(3))
    bar.update()
    bar.close()
    assert list(late) == [0, 1, 2]
    assert stored().status == "completed"


def test_bar__can_be_looped_over_once_more(job: ProcessingJobLifecycle) -> None:
    bar = tqdm(range(3), job=job)
    assert [list(bar), list(bar)] == [[0, 1, 2], [0, 1, 2]]
    assert state() == ("completed", 3, 3)


@pytest.mark.django_db(transaction=True)
async def test_asynchronous_loop__counts_for_its_reporter(make_job: MakeJob) -> None:
    job = await asyncio.to_thread(make_job, "job-1")
    async with Reporter(job) as report:
        async for _ in tqdm(range(3)):
            pass
        assert report.current == 3
        assert await tqdm.gather(asyncio.sleep(0, "a"), asyncio.sleep(0, "b")) == ["a", "b"]
        assert report.current == 2

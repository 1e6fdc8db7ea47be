"""A loop that reports itself."""

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from jobs.reporting import Reporter, run, track
from tests.jobs.reporting.reported import MakeJob, stored

pytestmark = pytest.mark.django_db


def test_track__completes_with_the_last_item(job: ProcessingJobLifecycle) -> None:
    assert list(track([1, 2, 3], job)) == [1, 2, 3]
    assert (stored().status, stored().metadata["total"]) == ("completed", 3)


def test_track__generator_has_no_total(job: ProcessingJobLifecycle) -> None:
    def items() -> Iterator[int]:
        yield from range(3)

    assert list(track(items(), job)) == [0, 1, 2]
    assert "total" not in stored().metadata


def left(looped: Callable[[], Iterator[int]], by: Exception | None = None) -> None:
    for _ in looped():
        if by is not None:
            raise by
        break


@pytest.mark.parametrize("by", [None, ValueError("row 1 is bad")], ids=["break", "exception"])
def test_track__loop_that_is_left_fails_and_says_how_far_it_was(job: ProcessingJobLifecycle, by: Any) -> None:
    with pytest.raises(ValueError, match="row 1") if by else nullcontext():
        left(lambda: track([1, 2, 3], job, unit="rows"), by)
    assert stored().status == "failed"
    assert stored().error == "The loop was left after 0 of 3 rows, by an exception, return or break"


def test_track__loop_whose_generator_outlives_it_fails_with_what_is_handled(job: ProcessingJobLifecycle) -> None:
    items = track([1, 2, 3], job)
    try:
        for _ in items:
            raise ValueError("row 1 is bad")
    except ValueError:
        del items
    assert (stored().status, stored().error) == ("failed", "ValueError: row 1 is bad")


def test_track__loop_that_is_closed_while_an_exception_is_handled_fails_with_that(job: ProcessingJobLifecycle) -> None:
    items = track([1, 2, 3], job)
    try:
        next(items)
        raise ValueError("row 1 is bad")
    except ValueError:
        items.close()
    assert (stored().status, stored().error) == ("failed", "ValueError: row 1 is bad")


def test_track__what_was_handled_before_has_not_ended_the_loop(job: ProcessingJobLifecycle) -> None:
    try:
        raise ValueError("of before")
    except ValueError:
        left(lambda: track([1, 2, 3], job))
    assert stored().error.startswith("The loop was left after 0 of 3 items")


def test_track__loop_that_is_left_since_that_was_asked_for_is_cancelled(job: ProcessingJobLifecycle) -> None:
    items = track([1, 2, 3], job)
    next(items)
    job.request_cancel()
    items.close()
    assert stored().status == "cancelled"


def test_track__loop_that_is_left_before_it_hears_of_the_cancellation_is_cancelled(job: ProcessingJobLifecycle) -> None:
    items = track([1, 2, 3], job)
    next(items)
    next(items)
    ProcessingJobLifecycle("job-1").request_cancel()
    items.close()
    assert stored().status == "cancelled"


@pytest.mark.filterwarnings("error")
def test_track__that_nobody_goes_on_with_says_nothing_but_to_the_job(job: ProcessingJobLifecycle, capsys: Any) -> None:
    items = track([1, 2, 3], job)
    next(items)
    del items
    gc.collect()
    assert stored().status == "failed"
    assert capsys.readouterr() == ("", "")


def test_track__that_nobody_goes_on_with_ends_at_once_also_where_an_exception_was_handled(
    job: ProcessingJobLifecycle,
) -> None:
    def work() -> None:
        try:
            raise ValueError("of before")
        except ValueError:
            items = track([1, 2, 3], job)
            next(items)

    gc.disable()
    try:
        work()
        assert stored().status == "failed"
    finally:
        gc.enable()


def test_track__reports_now_and_then_and_counts_each(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    reports: list[Any] = []
    write = job.write

    def noting(decisions: Any) -> None:
        reports.extend(each.arguments["report"] for each in decisions if "report" in each.arguments)
        write(decisions)

    monkeypatch.setattr(job, "write", noting)
    monkeypatch.setattr(run, "report_seconds", lambda: 3600.0)
    assert sum(1 for _ in track(range(10_000), job)) == 10_000
    assert [said.current for said in reports] == [0, 10_000]


def test_track__in_a_block_of_its_own_the_block_knows_how_it_ended(make_job: MakeJob) -> None:
    for number, by in enumerate((None, ValueError("row 1 is bad"))):
        job = make_job(f"job-{number}")
        with pytest.raises(ValueError, match="row 1") if by else nullcontext(), Reporter(job) as report:
            left(lambda: report.track([1, 2, 3]), by)
    ended = ProcessingJob.objects.order_by("pk").values_list("status", "error")
    assert list(ended) == [("completed", ""), ("failed", "ValueError: row 1 is bad")]


def test_track__in_a_block_counts_beside_what_else_is_counted(job: ProcessingJobLifecycle) -> None:
    with Reporter(job, total=9) as report:
        report.advance(2)
        for _ in report.track(range(3)):
            report.advance()
        for item in report.track(range(3)):
            if item == 1:
                break
    assert (stored().status, stored().metadata["current"]) == ("completed", 2 + 6 + 1)


def test_track__that_is_collected_while_another_report_is_counted_holds_nobody_up(
    job: ProcessingJobLifecycle, monkeypatch: Any
) -> None:
    """Garbage is collected at any moment, in any thread."""
    monkeypatch.setattr(run, "report_seconds", lambda: 3600.0)

    class Number(int):
        def __radd__(self, other: float) -> float:
            gc.collect()
            return other + int(self)

    job.mark_started()
    report = Reporter(job, total=9)
    report.report(current=0)
    items: list[Any] = [report.track(range(3))]
    items.append(items)  # so that it is garbage, and not gone at once
    next(items[0])
    next(items[0])
    del items
    counting = threading.Thread(target=report.advance, args=[Number(2)], daemon=True)
    counting.start()
    counting.join(5)
    assert not counting.is_alive()


def test_track__in_a_block_that_sets_the_count_back_goes_on_from_there(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        for item in report.track(range(10)):
            if item == 5:
                report.report(current=2)
                report.advance(2)
                assert report.current == 4
        assert report.current == 9

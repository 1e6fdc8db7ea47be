"""Rich's displays that are a job's progress."""

import io
import threading
from typing import Any

import pytest
from rich.console import Console

from jobs.exceptions import JobCancelled
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent
from jobs.reporting import Job, Reporter
from jobs.reporting.rich import Progress
from jobs.reporting.tqdm import tqdm
from tests.jobs.reporting.reported import MakeJob, stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def state() -> tuple[str, Any, Any]:
    job = stored()
    return job.status, job.metadata.get("current"), job.metadata.get("total")


def messages() -> list[str]:
    said = JobEvent.objects.filter(job_id="job-1").order_by("seq").values_list("message", flat=True)
    return list(dict.fromkeys(filter(None, said)))


@pytest.mark.parametrize("auto_refresh", [True, False])
def test_track__in_a_block_is_a_run(job: ProcessingJobLifecycle, console: Console, auto_refresh: bool) -> None:
    with Progress(job=job, unit="rows", console=console, auto_refresh=auto_refresh) as progress:
        assert list(progress.track(["a", "b"], description="[red]Import[/red]")) == ["a", "b"]
    assert state() == ("completed", 2, 2)
    assert stored().metadata["unit"] == "rows"
    assert messages() == ["Import"]
    assert "Import" in console.file.getvalue()  # type: ignore[attr-defined]


def test_tasks__count_together(job: ProcessingJobLifecycle, console: Console) -> None:
    def now() -> tuple[str, Any, Any]:
        assert progress.report is not None
        progress.report.flush()
        return state()

    with Progress(job="job-1", console=console) as progress:
        first = progress.add_task("first", total=10)
        progress.advance(first, 4)
        assert now() == ("in_progress", 4, 10)
        second = progress.add_task("second", total=20, completed=1)
        progress.update(second, advance=2)
        assert now() == ("in_progress", 7, 30)
        progress.update(second, total=25)
        progress.update(first, completed=10, description="almost")
        assert now() == ("in_progress", 13, 35)
        progress.remove_task(first)
        assert now() == ("in_progress", 13, 35)
        progress.reset(second, total=30)
        assert now() == ("in_progress", 10, 40)
        progress.update(second, completed=30)
    assert state() == ("completed", 40, 40)
    assert messages() == ["first", "second", "almost"]


def test_tasks__of_which_one_has_no_total(job: ProcessingJobLifecycle, console: Console) -> None:
    with Progress(job=job, console=console) as progress:
        progress.advance(progress.add_task("unknown", total=None), 4)
        progress.add_task("known", total=10, completed=3)
    assert state() == ("completed", 7, None)


def test_block__fails_with_its_exception(job: ProcessingJobLifecycle, console: Console) -> None:
    def work() -> None:
        with Progress(job=job, console=console) as progress:
            for _ in progress.track([1, 2]):
                raise ValueError("row 1 is bad")

    with pytest.raises(ValueError, match="bad"):
        work()
    assert (stored().status, stored().error) == ("failed", "ValueError: row 1 is bad")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("auto_refresh", [True, False])
def test_block__ends_when_the_job_is_cancelled(
    job: ProcessingJobLifecycle, console: Console, auto_refresh: bool
) -> None:
    with Progress(job=job, console=console, auto_refresh=auto_refresh) as progress:
        ProcessingJobLifecycle("job-1").request_cancel()
        for _ in progress.track(range(1_000)):
            threading.Event().wait(0.01)
        raise AssertionError("it goes on")
    assert stored().status == "cancelled"


@pytest.mark.usefixtures("_every_report")
def test_update__raises_a_cancellation(job: ProcessingJobLifecycle, console: Console) -> None:
    with Progress(job=job, console=console) as progress:
        task = progress.add_task("work")
        ProcessingJobLifecycle("job-1").request_cancel()
        progress.advance(task)
        raise AssertionError("it goes on")
    assert stored().status == "cancelled"


def test_threads__count_and_raise_nothing(job: ProcessingJobLifecycle, console: Console) -> None:
    with Progress(job=job, console=console) as progress:
        task = progress.add_task("work", total=400)
        threads = [threading.Thread(target=lambda: [progress.advance(task) for _ in range(100)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert state() == ("completed", 400, 400)


def test_display__that_is_started_and_stopped_by_hand(job: ProcessingJobLifecycle, console: Console) -> None:
    progress = Progress(job=job, console=console)
    task = progress.add_task("work", total=3)
    assert stored().status == "pending"
    progress.start()
    assert stored().status == "in_progress"
    progress.advance(task, 3)
    progress.stop()
    progress.stop()
    assert state() == ("completed", 3, 3)


def test_display__that_an_exception_stops(job: ProcessingJobLifecycle, console: Console) -> None:
    def work() -> None:
        progress = Progress(job=job, console=console)
        progress.start()
        try:
            raise ValueError("row 1 is bad")
        finally:
            progress.stop()

    with pytest.raises(ValueError, match="bad"):
        work()
    assert stored().error == "ValueError: row 1 is bad"


def test_display__can_pause_in_its_block(job: ProcessingJobLifecycle, console: Console) -> None:
    with Progress(job=job, console=console) as progress:
        progress.stop()
        assert stored().status == "in_progress"
        progress.start()
        progress.add_task("work", total=2, completed=2)
    assert state() == ("completed", 2, 2)


def test_display__of_a_job_that_was_cancelled_while_it_waited(job: ProcessingJobLifecycle, console: Console) -> None:
    job.request_cancel()
    with pytest.raises(JobCancelled), Progress(job=job, console=console):
        raise AssertionError("the body runs")


def test_disabled__counts_all_the_same(job: ProcessingJobLifecycle, console: Console) -> None:
    with Progress(job=job, console=console, disable=True) as progress:
        assert list(progress.track([1, 2])) == [1, 2]
    assert state() == ("completed", 2, 2)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_display__counts_for_the_current_reporter(job: ProcessingJobLifecycle, console: Console) -> None:
    with Job("job-1").report() as report:
        with Progress(console=console) as progress:
            list(progress.track([1, 2, 3]))
        report.flush()
        assert state() == ("in_progress", 3, 3)
    assert stored().status == "completed"


def test_display__within_a_bar_counts_for_nothing(job: ProcessingJobLifecycle, console: Console) -> None:
    with Reporter(job) as report:
        for _ in tqdm(range(2), file=io.StringIO()):
            with Progress(console=console) as progress:
                list(progress.track(range(50)))
        report.flush()
        assert state() == ("in_progress", 2, 2)


def test_display__without_a_job_is_richs(make_job: MakeJob, console: Console) -> None:
    with Progress(console=console) as progress:
        assert list(progress.track([1, 2])) == [1, 2]
        progress.remove_task(progress.add_task("more"))
    progress.start()
    progress.stop()

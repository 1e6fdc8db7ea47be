"""Stages as a watcher sees them."""

import contextlib
import threading
import time
from typing import Any

import pytest

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent
from jobs.reporting import Reporter, notes, run
from tests.jobs.reporting.reported import MakeJob, stored


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    warnings: list[str] = []
    monkeypatch.setattr(notes.logger, "warning", lambda words, *arguments: warnings.append(words % arguments))
    return warnings


@pytest.fixture
def _every_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "report_seconds", lambda: 0.0)


def shown() -> tuple[Any, ...]:
    job = stored()
    return job.progress, *(job.metadata.get(key) for key in ("stage", "current", "total"))


@pytest.mark.django_db
@pytest.mark.usefixtures("_every_report")
def test_stage__counts_for_itself_and_moves_the_job_by_its_weight(make_job: MakeJob) -> None:
    make_job("job-1", plan={"download": 1, "resize": 3})
    with Reporter("job-1", unit="files") as report:
        report.stage("download", total=2)
        report.advance()
        assert shown() == (12.5, "download", 1, 2)
        report.stage("resize", total=4)
        assert shown() == (25, "resize", 0, 4)
        for _ in report.track("abcd"):
            pass
        report.flush()
        assert shown() == (100, "resize", 4, 4)
    assert stored().status == "completed"


@pytest.mark.django_db
@pytest.mark.usefixtures("_every_report")
def test_stage__its_total_is_not_that_of_the_one_before(make_job: MakeJob) -> None:
    make_job("job-1")
    with Reporter("job-1", plan=["a", "b", "c"]) as report:
        assert stored().plan == [["a", 1], ["b", 1], ["c", 1]]
        report.stage("a", total=2)
        report.advance()
        report.stage("b")
        assert shown() == (33.33, "b", None, None)
        report.advance(7)
        assert shown() == (33.33, "b", 7, None)
        report.stage("c", total=0)
        assert shown() == (100, "c", 0, 0)


@pytest.mark.django_db
@pytest.mark.usefixtures("_every_report")
def test_stage__without_a_plan_is_a_label(make_job: MakeJob) -> None:
    make_job("job-1")
    with Reporter("job-1", total=4) as report, report.stage("import"):
        report.advance()
        report.stage("parse")
        report.advance()
        assert shown() == (50, "import › parse", 2, 4)


@pytest.mark.django_db
@pytest.mark.usefixtures("_every_report")
def test_stage__a_job_with_a_plan_that_begins_no_stage_counts_as_ever(make_job: MakeJob) -> None:
    make_job("job-1", plan=["a", "b"])
    with Reporter("job-1", total=4) as report:
        report.report(stage="a")
        report.advance()
        assert shown() == (25, "a", 1, 4)


@pytest.mark.django_db
@pytest.mark.usefixtures("_every_report")
def test_stage__a_bad_plan_is_left_out_and_the_job_is_done(make_job: MakeJob, warned: list[str]) -> None:
    make_job("job-1")
    with Reporter("job-1", plan={"a": 0}) as report:
        report.advance()
    assert (stored().status, stored().plan, len(warned)) == ("completed", [], 1)


@pytest.mark.django_db
@pytest.mark.usefixtures("_every_report")
def test_stage__a_job_that_fails_in_one_is_shown_where_it_failed(make_job: MakeJob) -> None:
    make_job("job-1", plan=["a", "b"])
    with contextlib.suppress(KeyError), Reporter("job-1") as report, report.stage("a", total=4):
        report.advance()
        raise KeyError
    assert (stored().status, *shown()) == ("failed", 12.5, "a", 1, 4)


@pytest.mark.django_db
def test_stage__ends_with_the_job_at_100(make_job: MakeJob) -> None:
    make_job("job-1", plan=["a", "b"])
    with Reporter("job-1") as report:
        report.stage("a", total=4)
    assert (stored().status, stored().progress) == ("completed", 100)


@pytest.mark.django_db
def test_eta__is_the_jobs_and_the_rate_is_the_stages(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    job: ProcessingJobLifecycle = make_job(status="in_progress")
    job.mark_progress(0, stage="a", current=0, total=100, of_stage=True)
    clock[0] += 10
    job.mark_progress(20.004, current=100, total=100, of_stage=True)
    assert job.job.metadata.items() >= {"rate": 10.0, "eta_seconds": 40.0}.items()
    assert job.job.progress == 20
    job.mark_progress(20.0, stage="b", current=100, of_stage=True)
    assert "rate" not in job.job.metadata, "what another stage has counted says nothing of this one"
    assert "total" not in job.job.metadata
    clock[0] += 10
    job.mark_progress(40, current=110, of_stage=True)
    assert job.job.metadata["rate"] == 1.0
    assert job.job.metadata["eta_seconds"] == pytest.approx(30, abs=1)


@pytest.mark.django_db(transaction=True)
def test_stage__is_begun_in_one_thread_while_others_count(make_job: MakeJob) -> None:
    make_job("job-1", plan={f"stage {number}": 1 for number in range(20)})
    with Reporter("job-1") as report:
        is_over = threading.Event()

        def count() -> None:
            while not is_over.is_set():
                report.advance()
                list(report.track("abc"))

        threads = [threading.Thread(target=count) for _ in range(3)]
        report.stage("stage 0", total=50)
        for thread in threads:
            thread.start()
        for number in range(1, 20):
            with report.stage(f"stage {number}", total=50):
                report.flush()
        is_over.set()
        for thread in threads:
            thread.join()
    seen: list[Any] = list(JobEvent.objects.order_by("seq").values_list("progress", flat=True))
    assert seen == sorted(seen)
    assert (stored().status, seen[-1]) == ("completed", 100)
    assert JobEvent.objects.filter(kind="stage").count() == 20

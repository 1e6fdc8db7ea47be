"""The arithmetic of stages, and what a watcher sees of them."""

import contextlib
import itertools
import math
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent
from jobs.reporting import Reporter, notes, run
from jobs.reporting.notes import Notes
from jobs.reporting.stages import Part, Stages
from tests.jobs.reporting.reported import MakeJob, stored

LABELS = st.sampled_from("abcd")
WEIGHTS = st.floats(1e-6, 1e9) | st.integers(1, 100)
PLANS = st.dictionaries(LABELS, WEIGHTS, max_size=4)
TOTALS = st.none() | st.floats(0, 1e6)


def planned(**plan: float) -> Stages:
    stages = Stages()
    stages.job.plan = dict(plan)
    return stages


# The arithmetic


def test_percent__is_by_weight() -> None:
    stages = planned(download=1, resize=3)
    stages.begin("download", total=10).counted = 5
    assert stages.percent == 12.5
    stages.begin("resize", total=4).counted = 1
    assert stages.percent == 25 + 75 / 4


def test_percent__of_a_stage_without_a_total_is_known_once_it_has_ended() -> None:
    stages = planned(a=1, b=1)
    stages.begin("a").counted = 7
    assert stages.percent == 0
    stages.begin("b")
    assert stages.percent == 50


def test_percent__of_what_is_within_makes_up_the_outer_one() -> None:
    stages = planned(imports=1, report=1)
    outer = stages.begin("imports", plan=[("parse", 1), ("load", 3)])
    outer.is_entered = True
    stages.begin("parse", total=2).counted = 1
    assert stages.label == "imports › parse"
    assert stages.percent == 50 / 8
    stages.begin("load", total=0)  # there is nothing to do
    assert stages.percent == 50
    stages.end(outer)
    assert (stages.label, stages.percent) == ("", 50)


def test_percent__an_outer_stage_that_has_a_total_goes_by_its_own_count() -> None:
    stages = planned(files=1)
    outer = stages.begin("files", total=4)
    outer.is_entered = True
    outer.counted = 1
    stages.begin("one file", total=10).counted = 10
    assert stages.percent == 25


def test_percent__a_stage_that_is_not_planned_is_added_and_takes_nothing_back() -> None:
    stages = planned(a=1, b=1)
    stages.begin("a")
    stages.begin("unforeseen", weight=2)
    assert stages.percent == 25
    stages.begin("another", weight=96)
    assert stages.percent == 25, "3 of 100"
    stages.begin("b")
    assert stages.percent == 99


def test_percent__a_planned_stage_that_begins_again_is_no_more_done() -> None:
    stages = planned(a=1, b=1)
    stages.begin("a")
    stages.begin("b")
    stages.begin("a", total=2).counted = 1
    assert stages.job.done == {"b"}
    assert stages.percent == 75


def test_percent__past_the_total_is_all_of_it() -> None:
    stages = planned(a=1, b=1)
    stages.begin("a", total=2).counted = 9
    assert stages.percent == 50


def test_label_only__without_a_weight_or_a_plan_the_count_is_the_jobs() -> None:
    stages = Stages()
    stages.begin("a", total=10)
    assert (stages.are_weighed, stages.present, stages.job.total) == (False, stages.job, 10)


def test_weighed__from_the_first_weight_on_and_never_less_than_was_shown() -> None:
    stages = Stages()
    stages.begin("a", total=10)
    stages.job.counted = 6
    stages.begin("b", weight=9)
    assert stages.present is stages.path[-1]
    assert stages.percent == 60, "and not 1 of 10"
    stages.begin("c")
    assert stages.percent == pytest.approx(100 * 10 / 11)


def test_end__in_the_wrong_order_ends_what_is_within_and_then_nothing() -> None:
    stages = planned(a=1, b=1)
    outer = stages.begin("a")
    outer.is_entered = True
    inner = stages.begin("inner")
    inner.is_entered = True
    stages.end(outer)
    assert stages.path == [stages.job]
    stages.end(inner)
    stages.abandon(inner)
    assert stages.percent == 50


def test_abandon__leaves_it_where_it_is_until_another_begins() -> None:
    stages = planned(a=1, b=1)
    part = stages.begin("a", total=4)
    part.is_entered, part.counted = True, 1
    stages.abandon(part)
    assert stages.percent == 12.5
    stages.begin("b")
    assert stages.percent == 50


def test_memory__a_stage_that_has_ended_leaves_a_sum() -> None:
    stages = Stages()
    for number in range(1000):
        stages.begin(f"stage {number}", weight=1)
    assert len(stages.path) == 2
    assert (stages.job.ended, stages.job.done, stages.job.plan) == (999, set(), {})


@given(PLANS, st.data())
def test_percent__whatever_is_done_never_goes_back_and_stays_in_its_bounds(
    plan: dict[str, float], data: st.DataObject
) -> None:
    stages, begun, last = planned(**plan), list[Part](), 0.0
    for _ in range(data.draw(st.integers(0, 20))):
        match data.draw(st.sampled_from(["begin", "enter", "count", "end", "abandon"])):
            case "begin":
                inner = data.draw(PLANS).items()
                weight = data.draw(st.none() | WEIGHTS)
                begun.append(stages.begin(data.draw(LABELS), weight=weight, total=data.draw(TOTALS), plan=inner))
            case "count":
                stages.present.counted = data.draw(st.floats(0, 1e7))
            case what if begun:
                part = data.draw(st.sampled_from(begun))
                if what == "enter":
                    part.is_entered = True
                else:
                    getattr(stages, what)(part)
        if stages.are_weighed:
            percent = stages.percent
            assert last <= percent <= 100
            assert math.isfinite(percent)
            last = percent


@given(st.dictionaries(st.text(max_size=3), WEIGHTS, min_size=1, max_size=6), st.lists(TOTALS, min_size=6, max_size=6))
def test_percent__of_a_plan_that_is_followed_rises_by_itself_and_ends_at_100(
    plan: dict[str, float], totals: list[float | None]
) -> None:
    stages = planned(**plan)
    seen = [0.0]
    part = None
    for label, total in zip(plan, totals, strict=False):
        part = stages.begin(label, total=total)
        for done in (0, 1, 2, 3):
            part.counted = (total or 0) * done / 3
            seen.append(100 * stages.job.fraction_of_parts(part, part.fraction()))
    assert part is not None
    assert all(after >= before - 1e-9 for before, after in itertools.pairwise(seen))
    stages.end(part)
    assert stages.percent == 100


# What is noted


def entries(noted: Notes) -> list[dict[str, Any]]:
    return [arguments for _, arguments in noted.take()]


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    warnings: list[str] = []
    monkeypatch.setattr(notes.logger, "warning", lambda words, *arguments: warnings.append(words % arguments))
    return warnings


@pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf, "3", None, [1]], ids=repr)
def test_begin__a_weight_that_is_none_is_left_out(weight: Any, warned: list[str]) -> None:
    noted = Notes("job-1")
    noted.stages.job.plan = {"a": 3, "b": 1}
    noted.begin("a", total=2, weight=weight, plan=None)
    noted.begin("b", total=None, weight=None, plan=None)
    assert entries(noted)[-1]["progress"] == 75
    assert len(warned) == (weight is not None)


def test_begin__what_can_not_be_stored_is_made_to_fit(warned: list[str]) -> None:
    noted = Notes("job-1")
    label: Any = ["no", "text\x00"]
    noted.begin(label, total="many", weight=1, plan=["a", "a"])  # type: ignore[arg-type]
    noted.begin("x" * 300, total=None, weight=None, plan=None)
    first, second = (entry["stage"] for entry in entries(noted))
    assert first == str(label)
    assert (len(second), second[-1]) == (200, "…")
    assert len(warned) == 1


def test_begin__what_was_counted_before_is_told_first() -> None:
    noted = Notes("job-1")
    noted.stages.job.plan = {"a": 1, "b": 1}
    noted.begin("a", total=4, weight=None, plan=None)
    noted.take()
    noted.advance(3)
    noted.begin("b", total=9, weight=None, plan=None)
    first, second = entries(noted)
    assert (first["progress"], first["current"], first["total"], "stage" in first) == (37.5, 3, 4, False)
    assert (second["progress"], second["current"], second["total"], second["stage"]) == (50, 0, 9, "b")


def test_loop__counts_in_the_stage_in_which_it_began() -> None:
    noted = Notes("job-1")
    noted.must_pause = False
    noted.stages.job.plan = {"files": 1}
    outer = noted.begin("files", total=2, weight=None, plan=None)
    outer.is_entered = True
    for _ in noted.loop("ab", noted.take):
        inner = noted.begin("one", total=5, weight=None, plan=None)
        noted.advance(5)
        assert noted.current == 5
        noted.leave(inner, is_done=True)
    assert (noted.current, outer.current) == (2, 2)


def test_leave__shows_the_outer_one_again_unless_another_begins() -> None:
    noted = Notes("job-1")
    outer = noted.begin("import", total=None, weight=2, plan=None)
    outer.is_entered = True
    for label in ("parse", "load"):
        noted.leave(noted.begin(label, total=None, weight=None, plan=None), is_done=True)
    assert [entry.get("stage") for entry in entries(noted)] == ["import", "import › parse", "import › load", "import"]


# What a watcher sees


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

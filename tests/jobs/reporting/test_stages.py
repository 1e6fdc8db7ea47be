"""What stages and their weights come to."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.reporting.stages import Part, Stages, Tally

LABELS = st.sampled_from("abcd")


WEIGHTS = st.floats(1e-6, 1e9) | st.integers(1, 100)


PLANS = st.dictionaries(LABELS, WEIGHTS, max_size=4)


TOTALS = st.none() | st.floats(0, 1e6)


def planned(**plan: float) -> Stages:
    stages = Stages()
    stages.job.plan = dict(plan)
    return stages


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


def test_tally__counts_in_whatever_stage_is_under_way() -> None:
    stages, counted = planned(a=1, b=1), [2]
    stages.add(tally := Tally(lambda: counted[0]))
    parts = []
    for label, is_entered in [("a", True), ("within", False), ("b", False)]:
        parts.append(stages.begin(label, total=20))
        parts[-1].is_entered = is_entered
        counted[0] += 10
        assert stages.present.current == 10
        if label == "within":
            stages.end(parts[0])
    assert [stages.job.current, *(part.current for part in parts)] == [2, 10, 10, 10]
    stages.remove(tally)
    counted[0] += 10
    assert stages.present.current == 10
    assert not stages.present.loops
    assert stages.percent == 75


def test_tally__counts_for_the_job_where_stages_are_but_labels() -> None:
    stages, counted = Stages(), [2]
    stages.add(Tally(lambda: counted[0]))
    stages.begin("a")
    counted[0] += 1
    stages.begin("b")
    assert stages.present.current == stages.job.current == 3

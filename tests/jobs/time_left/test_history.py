"""What earlier runs say: by the stage, scaled to the size."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.time_left.history import START, History, Work, ratio_of
from jobs.time_left.record import Run, Segment

READ = ("read", True, 1)


def a_run(*stages: tuple[str, float], total: float | None = 100, **about: Any) -> Run:
    """Return a run of stages with their seconds; the first one counts."""
    (first, seconds), *others = stages
    segments = [Segment("", False, 0.0), Segment(first, True, seconds, total)]
    segments += [Segment(name, False, each) for name, each in others]
    return Run(sum(each for _, each in stages), tuple(segments), **about)


def wholes(history: History, work: Work) -> list[float]:
    rows = history.rows(START, None, work, set())
    return [row.before + row.length + row.after for row in rows]


def test_rows__are_of_the_runs_that_had_the_segment() -> None:
    history = History("kind", (a_run(("read", 10.0), ("write", 20.0)), a_run(("check", 5.0))))
    (row,) = history.rows(READ, None, Work(), {"read"})
    assert (row.length, row.after) == (10.0, 20.0)
    assert history.rows(("parse", True, 1), None, Work(), set()) == ()


def test_rows__of_older_runs_weigh_less() -> None:
    history = History("kind", (a_run(("read", 10.0)),) * 9)
    rows = history.rows(READ, None, Work(), set())
    assert (rows[0].weight, rows[8].weight) == (1.0, 0.5)


def test_rows__are_worked_out_once_for_a_segment() -> None:
    history = History("kind", (a_run(("read", 10.0)),))
    assert history.rows(READ, None, Work(), set()) is history.rows(READ, None, Work(), set())


SIZED = tuple(
    a_run(("read", 0.1 * size), ("write", 5.0), total=size, unit="rows") for size in (100, 200, 400, 800, 1600)
)


def test_rows__are_scaled_by_the_total_each_stage_in_its_own_way() -> None:
    """Reading takes as long as there are rows, writing always the same."""
    rows = History("kind", SIZED * 4).rows(READ, 3_200, Work("rows", None, 3_200), set())
    assert [row.length for row in rows] == pytest.approx([320.0] * 20, rel=0.02)
    assert [row.after for row in rows] == pytest.approx([5.0] * 20, rel=0.2)


@pytest.mark.parametrize("work", [Work("files", None, 3_200), Work("rows"), Work("rows", 3_200)])
def test_rows__of_another_unit_or_no_known_size_keep_their_time(work: Work) -> None:
    rows = History("kind", SIZED).rows(READ, None, work, set())
    assert [row.length for row in rows] == pytest.approx([10.0, 20.0, 40.0, 80.0, 160.0])


def test_ratio__the_size_that_was_told_comes_first() -> None:
    run = a_run(("read", 10.0), total=100, unit="rows", size=50.0)
    assert ratio_of(run, Work("rows", 100.0, 100.0)) == 2.0
    assert ratio_of(run, Work("rows", None, 300.0)) == 3.0
    assert ratio_of(run, Work("rows", 0.0, 0.0)) is None


PLANNED = a_run(("read", 10.0), ("resize", 30.0), ("publish", 5.0), plan=("read", "resize", "publish"))
SHORT = a_run(("read", 10.0), ("publish", 5.0), plan=("read", "publish"))


def test_plan__leaves_out_what_is_not_planned_this_time() -> None:
    history = History("kind", (PLANNED, SHORT))
    assert wholes(history, Work(plan=("read", "publish"))) == pytest.approx([15.0, 15.0], abs=0.01)


def test_plan__adds_what_was_not_planned_then() -> None:
    history = History("kind", (PLANNED, SHORT))
    assert wholes(history, Work(plan=("read", "resize", "publish"))) == pytest.approx([45.0, 45.0], abs=0.01)


def test_plan__a_stage_that_was_planned_and_left_out_counts_as_that() -> None:
    left_out = a_run(("read", 10.0), plan=("read", "resize"))
    assert wholes(History("kind", (PLANNED, left_out)), Work(plan=("read", "resize"))) == pytest.approx(
        [40.0, 10.0], abs=0.01
    )


def test_plan__without_one_runs_are_as_they_were() -> None:
    assert wholes(History("kind", (PLANNED, SHORT)), Work()) == pytest.approx([45.0, 15.0], abs=0.01)


def test_recent__what_changed_is_forgotten_once_three_runs_have_shown_it() -> None:
    old, new = (a_run(("read", 10.0)),) * 10, (a_run(("read", 60.0)),)
    assert History("kind", new * 2 + old).recent(Work()) == new * 2 + old
    assert History("kind", new * 3 + old).recent(Work()) == new * 3


numbers = st.none() | st.floats(0, 1e18)
runs = st.builds(
    lambda segments, **about: Run(sum(each.seconds for each in segments), tuple(segments), **about),
    st.lists(
        st.builds(Segment, st.sampled_from(["", "a", "b › c"]), st.booleans(), st.floats(0, 8e6), numbers, st.none()),
        min_size=1,
        max_size=6,
    ),
    unit=st.sampled_from(["", "rows"]),
    size=numbers,
    plan=st.sampled_from([(), ("a",), ("a", "b")]),
)


@given(
    st.lists(runs, max_size=20),
    st.sampled_from([START, ("a", True, 1), ("b › c", False, 2)]),
    numbers,
    st.builds(Work, st.sampled_from(["", "rows"]), numbers, numbers, st.sampled_from([(), ("a",), ("b", "c")])),
)
def test_rows__of_any_runs_are_finite(past: list[Run], key: Any, total: float | None, work: Work) -> None:
    for row in History("kind", tuple(past)).rows(key, total, work, {"a"}):
        assert 0 <= row.before < float("inf")
        assert 0 < row.length < float("inf")
        assert 0 <= row.after < float("inf")

"""Where a run is, and what is kept of it."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.time_left.course import MAX_POINTS, Course, thinned
from jobs.time_left.curves import unpacked
from jobs.time_left.history import History
from jobs.time_left.record import MAX_SEGMENTS, Run

Told = tuple[float, str, float | None, float | None]  # seconds, stage, current, total


def begun(**fields: Any) -> Course:
    about = {"attempt": 1, "size": None, "plan": (), "last": (0.0, None, None, None), **fields}
    return Course(History("kind"), 0.0, **about)


def after(told: Iterable[Told], **fields: Any) -> Course:
    course = begun(**fields)
    for each in told:
        course = course.moved(*each)
    return course


def run_of(told: Iterable[Told], seconds: float = 100.0, **fields: Any) -> Run:
    run = after(told, **fields).run(seconds)
    assert run is not None
    return run


def segments(run: Run) -> list[tuple[str, bool, float, float | None]]:
    return [(each.stage, each.is_counted, each.seconds, each.total) for each in run.segments]


def test_run__begins_silent_until_its_first_report() -> None:
    run = run_of([(1.0, "", 0, 10), (40.0, "", 5, 10)])
    assert segments(run) == [("", False, 1.0, None), ("", True, 99.0, 10)]
    assert run.total == 10


def test_run__that_never_reports_is_one_silent_stage() -> None:
    assert segments(run_of([])) == [("", False, 100.0, None)]


def test_run__each_stage_with_a_count_of_its_own_is_a_segment() -> None:
    run = run_of([(0.0, "read", 0, 10), (30.0, "read", 10, 10), (30.0, "solve", None, None), (70.0, "read", 0, 5)])
    assert segments(run)[1:] == [("read", True, 30.0, 10), ("solve", False, 40.0, None), ("read", True, 30.0, 5)]
    assert list(run.places)[1:] == [("read", True, 1), ("solve", False, 1), ("read", True, 2)]


def test_run__a_count_that_goes_on_over_stages_is_one_segment() -> None:
    run = run_of([(0.0, "read", 0, 10), (30.0, "read", 5, 10), (31.0, "write", 6, 10), (90.0, "write", 10, 10)])
    assert segments(run)[1:] == [("read", True, 100.0, 10)]


def test_run__a_total_that_grew_is_not_known() -> None:
    run = run_of([(0.0, "", 0, 10), (30.0, "", 5, 10), (60.0, "", 6, 20)])
    assert segments(run)[1:] == [("", True, 100.0, None)]
    assert run.total is None


def test_run__knows_how_each_went() -> None:
    curve = unpacked(run_of([(0.0, "", 0, 10), (90.0, "", 5, 10), (100.0, "", 10, 10)]).segments[1].curve)
    assert curve[27] / 65_535 == pytest.approx(0.5 * 87.5 / 90, abs=0.01)
    assert curve[-1] == 65_535


def test_run__shorter_than_two_seconds_says_nothing() -> None:
    assert begun().run(1.9) is None
    assert begun().run(2.0) is not None


RESUMED = [
    (1, [(0.01, "", 500, 1000)], True),
    (1, [(45.0, "", 500, 1000)], False),  # it took its time to get there
    (1, [(0.01, "", 1, 10)], False),  # the first of ten may well be quick
    (1, [(0.0, "", 0, 1000), (0.01, "", 500, 1000)], False),
    (2, [(0.0, "", 0, 1000), (0.01, "", 500, 1000)], True),
    (2, [(0.0, "", 0, 1000), (0.01, "", 20, 1000)], False),
    (1, [(0.0, "check", 0, 50), (0.1, "check", 50, 50), (0.2, "load", 0, 9)], False),
]


@pytest.mark.parametrize(("attempt", "told", "is_resumed"), RESUMED)
def test_run__that_goes_on_from_an_earlier_one_says_nothing(attempt: int, told: list[Told], is_resumed: bool) -> None:
    assert (after(told, attempt=attempt).run(100.0) is None) is is_resumed


def test_run__of_percentages_may_begin_above_0() -> None:
    assert begun().moved(0.01, "", 10, 100, is_percent=True).run(100.0) is not None
    assert begun(attempt=2).moved(0.01, "", 10, 100, is_percent=True).run(100.0) is None


def test_moved__a_count_that_did_not_change_is_no_tick() -> None:
    course = after([(0.0, "", 0, 10), (5.0, "", 1, 10)])
    assert course.moved(9.0, "", 1, 10) == course
    assert (course.present.ticked, course.present.step) == (5.0, 0.1)


def test_moved__leaves_the_one_before_as_it_was() -> None:
    before = after([(0.0, "", 0, 10)])
    assert before.moved(5.0, "", 1, 10) == before.moved(5.0, "", 1, 10) != before
    assert before.present.current == 0


def test_moved__never_goes_back_in_time() -> None:
    """Of two threads' reports, the one that was made first came last."""
    run = run_of([(5.0, "a", 0, 10), (4.0, "b", 0, 10), (3.0, "b", 5, 10)])
    assert [each.seconds for each in run.segments] == [5.0, 0.0, 95.0]


def test_past__is_bounded() -> None:
    course = after((float(number), f"batch {number}", None, None) for number in range(1_000))
    assert len(course.past) == MAX_SEGMENTS
    assert course.run(2_000.0) is None
    assert course.moved(1_000.0, "", 1, 2).moved(1_001.0, "", None, None).run(2_000.0) is None


def test_points__are_bounded_and_keep_their_first_and_last() -> None:
    course = after((float(number), "", number, 100_000) for number in range(10_000))
    points = course.present.points
    assert len(points) <= MAX_POINTS
    assert points[0] == (0.0, 0.0)
    assert points[-1] == (9_999.0, 0.09999)
    assert thinned(points[:10]) == points[:10]


def test_percents__are_kept_unless_they_fall() -> None:
    course = begun().at_percent(25.0, 50.0).at_percent(50.0, 75.0)
    run = course.run(100.0)
    assert run is not None
    assert run.percents is not None
    assert (run.percents[7], run.percents[15], run.percents[31]) == (50, 75, 75)
    fallen = course.at_percent(60.0, 10.0).at_percent(70.0, 90.0).run(100.0)
    assert fallen is not None
    assert fallen.percents is None


counts = st.one_of(st.none(), st.integers(0, 20))


@given(
    st.lists(st.tuples(st.floats(0, 100), st.sampled_from("ab"), counts, st.sampled_from([None, 10, 20])), max_size=60),
    st.lists(st.none() | st.floats(0, 100), max_size=60),
)
def test_run__of_any_course_is_stored_and_read_again(told: list[Told], percents: list[float | None]) -> None:
    course = begun()
    for number, (_, stage, current, total) in enumerate(sorted(told, key=lambda each: each[0])):
        is_counted = current is not None and total is not None
        course = course.moved(told[number][0], stage, min(current or 0, total or 0) if is_counted else None, total)
    for at, percent in enumerate(percents):
        course = course.at_percent(float(at), percent)
    run = course.run(100.0)
    if run is not None:
        assert sum(each.seconds for each in run.segments) >= 100.0 - 1e-6
        assert run.text() is not None

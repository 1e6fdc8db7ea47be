"""The formula by which earlier runs say what is left."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.time_left.curves import LINEAR, packed, unpacked
from jobs.time_left.estimate import Place, Row, later, quantiles, slope, time_left

LATE_HALF = unpacked(
    packed([(0.0, 0.0), (90.0, 0.5), (100.0, 1.0)], 100.0)
)  # its second half takes a tenth of the time


def counted(length: float = 100.0, *, before: float = 0.0, after: float = 0.0, weight: float = 1.0) -> Row:
    return Row(before, length, LINEAR, after, weight)


def middle(rows: list[Row], place: Place) -> float | None:
    left = time_left(rows, place)
    return None if left is None else left.middle


times = st.floats(1e-3, 8e6)
rows_of_any = st.lists(
    st.builds(
        Row, st.floats(0, 8e6), times, st.sampled_from([LINEAR, LATE_HALF]), st.floats(0, 8e6), st.floats(0.1, 1)
    ),
    min_size=1,
    max_size=20,
)


@st.composite
def places(draw: st.DrawFn) -> Place:
    began, spent = draw(st.floats(0, 8e6)), draw(st.floats(0, 8e6))
    if draw(st.booleans()):
        return Place(began, began + spent)
    share, ticked = draw(st.floats(0, 1)), draw(st.floats(0, spent))
    return Place(began, began + spent, share, ticked, draw(st.floats(0, share)))


@given(rows_of_any, places())
def test_time_left__is_a_range_of_finite_numbers(rows: list[Row], place: Place) -> None:
    left = time_left(rows, place)
    if left is None:
        assert place.share in (None, 1.0)
        return
    assert all(map(math.isfinite, left))
    assert 0 <= left.low <= left.middle * (1 + 1e-9) + 1e-9
    assert left.middle <= left.high * (1 + 1e-9) + 1e-9
    assert 0 <= left.floor <= left.middle * (1 + 1e-9) + 1e-9


@given(rows_of_any, places())
def test_later__goes_on_in_time(rows: list[Row], place: Place) -> None:
    found = later(rows, Place(place.began, place.now))
    assert [seconds for seconds, _ in found] == sorted(seconds for seconds, _ in found)
    assert all(seconds > 0.5 for seconds, _ in found)
    assert len(found) <= 6


def test_time_left__at_the_start_is_the_median_of_the_runs() -> None:
    rows = [counted(length, after=50.0) for length in (80.0, 100.0, 300.0)]
    assert middle(rows, Place(0.0, 0.0, 0.0)) == pytest.approx(150.0)


def test_time_left__goes_by_the_curve_and_not_by_the_count() -> None:
    row = Row(0.0, 100.0, LATE_HALF, 0.0, 1.0)
    assert middle([row], Place(0.0, 90.0, 0.5, 90.0, 0.01)) == pytest.approx(10.0, abs=3.0)


def test_time_left__a_run_that_is_twice_as_slow_takes_twice_as_long() -> None:
    assert middle([counted()], Place(0.0, 100.0, 0.5, 100.0, 0.01)) == pytest.approx(100.0, rel=0.1)


def test_time_left__what_comes_after_is_slower_too_but_less_believed() -> None:
    (here,), (far,) = ([counted(after=100.0)],), ([counted(after=100.0)],)
    slow = middle(here, Place(0.0, 190.0, 0.95, 190.0, 0.01))
    usual = middle(far, Place(0.0, 95.0, 0.95, 95.0, 0.01))
    assert slow is not None
    assert usual == pytest.approx(105.0, abs=0.1)
    assert 115.0 < slow < 210.0


def test_time_left__counts_down_and_no_further_than_to_the_next_tick() -> None:
    rows = [counted()]
    at_tick, soon, stalled = (time_left(rows, Place(0.0, now, 0.5, 50.0, 0.1)) for now in (50.0, 55.0, 500.0))
    assert at_tick is not None
    assert soon is not None
    assert stalled is not None
    assert [at_tick.middle, soon.middle, stalled.middle] == pytest.approx([50.0, 45.0, 40.0], abs=0.1)
    assert stalled.middle == at_tick.floor


def test_time_left__after_all_is_counted_is_what_was_done_then() -> None:
    row = Row(0.0, 100.0, unpacked(packed([(0.0, 0.0), (80.0, 1.0)], 100.0)), 0.0, 1.0)
    assert middle([row], Place(0.0, 80.0, 1.0, 80.0, 0.01)) == pytest.approx(20.0, abs=2.0)


def test_time_left__long_after_all_is_counted_is_unknown() -> None:
    tail = [Row(0.0, 100.0, unpacked(packed([(0.0, 0.0), (80.0, 1.0)], 100.0)), 0.0, 1.0)]
    for rows, last in (([counted()], 100.0 + 1.6 * 5.0), (tail, 80.0 + 1.6 * 20.0)):
        ticked = last - 1.6 * 5.0 if rows is not tail else 80.0
        at = Place(0.0, ticked, 1.0, ticked, 0.01)
        ((seconds, then),) = later(rows, at)
        assert (ticked + seconds, then) == (pytest.approx(last, abs=3.0), None)
        assert middle(rows, at._replace(now=ticked + seconds - 0.1)) is not None
        assert middle(rows, at._replace(now=ticked + seconds + 0.1)) is None
        assert later(rows, at._replace(now=ticked + seconds + 0.1)) == []


def test_time_left__of_a_silent_stage_is_what_is_left_of_it() -> None:
    rows = [counted(100.0, after=10.0)]
    assert middle(rows, Place(0.0, 0.0)) == pytest.approx(110.0)
    assert middle(rows, Place(0.0, 50.0)) == pytest.approx(60.0, abs=1.0)


def test_time_left__of_a_silent_stage_forgets_the_runs_that_were_done_by_then() -> None:
    """A cache is hit or missed."""
    rows = [counted(5.0), counted(5.0), counted(5.0), counted(100.0)]
    assert middle(rows, Place(0.0, 0.0)) == pytest.approx(5.0)
    assert middle(rows, Place(0.0, 20.0)) == pytest.approx(80.0, abs=1.0)


def test_time_left__of_a_silent_stage_that_takes_longer_than_ever_is_unknown() -> None:
    assert middle([counted(100.0)], Place(0.0, 155.0)) is not None
    assert middle([counted(100.0)], Place(0.0, 161.0)) is None


def test_time_left__a_stage_that_is_short_beside_its_run_is_not_late_so_soon() -> None:
    assert middle([counted(0.01, after=100.0)], Place(0.0, 5.0)) == pytest.approx(100.0)


def test_later__says_what_is_left_then_and_when_nothing_is_known() -> None:
    rows = [counted(length) for length in (90.0, 95.0, 100.0, 105.0, 110.0)]
    found = later(rows, Place(0.0, 0.0))
    for seconds, left in found[:-1]:
        assert left == time_left(rows, Place(0.0, seconds))
    assert found[-1] == (pytest.approx(176.0), None)


def test_slope__is_that_of_a_power() -> None:
    pairs = [(float(x), 3.0 * x**1.5) for x in range(1, 50)]
    assert slope(pairs, 0.0, 1e-9) == pytest.approx(1.5)
    assert slope(pairs[:1], 0.7, 0.5) == slope([], 0.7, 0.5) == pytest.approx(0.7)


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0.01, 1)), min_size=1, max_size=30))
def test_quantiles__rise_and_are_within_the_values(pairs: list[tuple[float, float]]) -> None:
    values = [value for value, _ in pairs]
    found = quantiles(pairs, (0.1, 0.5, 0.9))
    assert all(min(values) - 1e-6 <= value <= max(values) + 1e-6 for value in found)
    assert found[0] <= found[1] + 1e-6
    assert found[1] <= found[2] + 1e-6


def test_quantiles__weigh() -> None:
    assert quantiles([(1.0, 1.0), (2.0, 1.0), (3.0, 1.0)], (0.5,)) == [2.0]
    assert quantiles([(1.0, 1.0), (3.0, 100.0)], (0.5,)) == [pytest.approx(3.0, abs=0.1)]

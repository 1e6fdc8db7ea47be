"""How a stage went, in 32 shares."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.time_left.curves import (
    FULL,
    LINEAR,
    POINTS,
    Point,
    curve_of,
    evenly,
    packed,
    share_of_time,
    text_of,
    unpacked,
)

shares = st.floats(0, 1)


@st.composite
def courses(draw: st.DrawFn) -> tuple[list[Point], float]:
    """Points that rise in time and in share, and the whole time."""
    seconds = sorted(draw(st.sets(st.integers(1, 10_000), min_size=1, max_size=40)))
    done = sorted(draw(st.lists(shares, min_size=len(seconds), max_size=len(seconds))))
    return [(0.0, 0.0), *zip(map(float, seconds), done, strict=True)], seconds[-1] + draw(st.floats(0, 10_000))


def test_evenly__reads_between_the_points() -> None:
    assert evenly([(0.0, 0.0), (16.0, 0.5)], 32.0)[:16] == [k / 32 for k in range(1, 17)]
    assert evenly([(0.0, 0.0), (16.0, 0.5)], 32.0)[16:] == [0.5] * 16


@given(courses())
def test_packed__rises_and_is_read_again(course: tuple[list[Point], float]) -> None:
    curve = packed(*course)
    assert curve_of(text_of(curve)) == curve
    assert len(text_of(curve)) == 86
    assert list(unpacked(curve)) == sorted(unpacked(curve))


@given(courses(), shares)
def test_share_of_time__is_within_a_moment_of_the_truth(course: tuple[list[Point], float], share: float) -> None:
    points, seconds = course
    found = share_of_time(unpacked(packed(points, seconds)), share)
    reached = next((at for at, done in points if done >= share - 1 / FULL), seconds)
    started = max(at for at, done in points if done <= share + 1 / FULL)
    assert min(reached, started) / seconds - 1 / POINTS <= found + 1e-9
    assert found <= max(reached, started) / seconds + 2 / POINTS or found == 1.0


@given(shares)
def test_share_of_time__of_an_even_course_is_the_share(share: float) -> None:
    assert share_of_time(LINEAR, share) == pytest.approx(share, abs=1e-3)


def test_share_of_time__of_what_was_never_reached_is_all() -> None:
    assert share_of_time(unpacked(packed([(0.0, 0.0), (1.0, 0.5)], 2.0)), 0.8) == 1.0


def test_unpacked__where_none_was_kept_is_even() -> None:
    assert unpacked(None) == LINEAR


@pytest.mark.parametrize("text", ["", "AAAA", "*" * 86, "/" * 43 + "A" * 43, "ä"])
def test_curve_of__what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        curve_of(text)

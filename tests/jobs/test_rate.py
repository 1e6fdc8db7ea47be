"""The smoothed rate and the time left."""

import math

import pytest

from jobs.rate import SMOOTHING_SECONDS, RateEstimator, eta_seconds


def test_update__first_sample_counts_from_the_start() -> None:
    assert RateEstimator(0, 100.0).update(20, 104.0).per_second == 5.0


def test_per_second__without_a_sample_is_unknown() -> None:
    assert RateEstimator(20, 104.0).per_second is None


def test_update__after_a_moment_is_unknown_yet() -> None:
    rate = RateEstimator(0, 0.0).update(20, 0.001)
    assert rate.per_second is None
    assert rate.update(21, 0.5).per_second == pytest.approx(42.0, rel=0.1)


def test_update__steady_work_keeps_its_rate_at_uneven_intervals() -> None:
    rate = RateEstimator(0, 0.0)
    for seconds in (0.5, 1.0, 7.0, 7.25):
        rate = rate.update(3 * seconds, seconds)
        assert rate.per_second == pytest.approx(3.0)


def test_update__leaves_the_one_before_as_it_was() -> None:
    before = RateEstimator(0, 0.0).update(5, 1.0)
    assert before.update(50, 2.0) == before.update(50, 2.0) != before
    assert before.per_second == 5.0


def test_update__is_the_mean_speed_weighted_by_age() -> None:
    """One a second for 10 s, then 11 a second for 5 s, against the integral that the samples stand for."""
    rate = RateEstimator(0, 0.0).update(10, 10.0).update(65, 15.0)
    kept = [math.exp(-age / SMOOTHING_SECONDS) for age in (0, 5, 15)]
    mean = (11 * (kept[0] - kept[1]) + 1 * (kept[1] - kept[2])) / (kept[0] - kept[2])
    assert rate.per_second == pytest.approx(mean)


def test_update__many_samples_weigh_as_one_of_their_length() -> None:
    one = many = RateEstimator(0, 0.0).update(1, 1.0)
    for step in range(1, 11):
        many = many.update(1 + 5 * step, 1.0 + step)
    assert many.per_second == pytest.approx(one.update(51, 11.0).per_second)


def test_update__no_time_passed_keeps_the_rate() -> None:
    rate = RateEstimator(0, 0.0).update(5, 1.0)
    assert rate.update(50, 1.0).per_second == 5.0
    assert rate.update(50, 0.5).per_second == 5.0


def test_update__a_smaller_count_begins_anew() -> None:
    rate = RateEstimator(0, 0.0).update(50, 1.0).update(0, 2.0)
    assert rate.per_second is None
    assert rate.update(4, 4.0).per_second == 2.0


@pytest.mark.parametrize(("rate", "expected"), [(None, None), (0.0, None), (4.0, 2.5), (3.0, 3.3)])
def test_eta_seconds__where_it_can_be_said(rate: float | None, expected: float | None) -> None:
    assert eta_seconds(10, rate) == expected

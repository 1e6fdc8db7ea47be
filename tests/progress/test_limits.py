"""What one client may take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress.limits import MessageRate, Places


def test_message_rate__lets_a_burst_through_and_no_more():
    rate = MessageRate(rate=2, burst=3, now=0)
    assert [rate.allows(0) for _ in range(5)] == [True, True, True, False, False]


def test_message_rate__recovers_with_time_up_to_the_burst():
    rate = MessageRate(rate=2, burst=3, now=0)
    for _ in range(3):
        rate.allows(0)
    assert [rate.allows(0.4), rate.allows(0.5), rate.allows(0.5)] == [False, True, False]
    assert [rate.allows(1000) for _ in range(4)] == [True, True, True, False]


@given(st.lists(st.floats(0, 2), max_size=50), st.floats(0.5, 20), st.integers(1, 20))
def test_message_rate__never_lets_more_through_than_burst_and_rate(waits, per_second, burst):
    rate, now, allowed = MessageRate(per_second, burst, 0), 0.0, 0
    for wait in waits:
        now += wait
        allowed += rate.allows(now)
    assert allowed <= burst + per_second * now + 1e-6


def test_places__each_client_has_its_own():
    places = Places()
    assert [places.take("a", 2), places.take("a", 2), places.take("a", 2), places.take("b", 2)] == [
        True,
        True,
        False,
        True,
    ]


def test_places__one_given_back_can_be_taken():
    places = Places()
    places.take("a", 1)
    places.give_back("a")
    assert places.take("a", 1)


def test_places__leave_no_trace():
    places = Places()
    places.take("a", 1)
    places.take("a", 1)
    places.give_back("a")
    assert places._taken == {}


@pytest.mark.parametrize("limit", [0, -1])
def test_places__there_may_be_none(limit):
    assert not Places().take("a", limit)

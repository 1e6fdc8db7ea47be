"""What one client may take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress.identity import limits
from progress.identity.limits import Allowances, MessageRate, network_of


def test_message_rate__lets_a_burst_through_and_no_more():
    rate = MessageRate(rate=2, burst=3, now=0)
    assert [rate.allows(0) for _ in range(5)] == [True, True, True, False, False]


def test_message_rate__recovers_with_time_up_to_the_burst():
    rate = MessageRate(rate=2, burst=3, now=0)
    for _ in range(3):
        rate.allows(0)
    assert [rate.allows(0.4), rate.allows(0.5), rate.allows(0.5)] == [False, True, False]
    assert [rate.allows(1000) for _ in range(4)] == [True, True, True, False]


def test_spend__no_client_owes_for_longer_than_a_while():
    """Or all at one address would wait for hours, for messages that came on sockets which are long gone."""
    rate = MessageRate(rate=10, burst=20, now=0)
    assert [rate.spend(20, 0), rate.spend(5, 0), rate.spend(1e6, 0)] == [0, 0.5, limits.DEBT_SECONDS]
    assert rate.spend(1, 1) == limits.DEBT_SECONDS - 1 + 0.1


@given(st.lists(st.floats(0, 2), max_size=50), st.floats(0.5, 20), st.integers(1, 20))
def test_message_rate__never_lets_more_through_than_burst_and_rate(waits, per_second, burst):
    rate, now, allowed = MessageRate(per_second, burst, 0), 0.0, 0
    for wait in waits:
        now += wait
        allowed += rate.allows(now)
    assert allowed <= burst + per_second * now + 1e-6


def test_spend__goes_into_debt_that_time_pays():
    rate = MessageRate(10, 5, now=0.0)
    assert rate.spend(5, 0.0) == 0
    assert rate.spend(20, 0.0) == 2.0
    assert not rate.allows(1.0)
    assert rate.spend(1, 2.0) == pytest.approx(0.1)


def test_allowances__are_kept_while_they_are_owed(monkeypatch):
    monkeypatch.setattr(limits, "KEPT_CLIENTS", 2)
    allowances = Allowances()
    assert allowances.of("a", 10, 20, 0.0) is allowances.of("a", 10, 20, 0.0)
    owing = allowances.of("b", 10, 20, 0.0)
    owing.spend(100, 0.0)
    for number in range(100):
        allowances.of(f"client {number}", 10, 20, 1.0)
    assert allowances.of("b", 10, 20, 1.0) is owing
    assert len(allowances._of) <= 4


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_network_of__an_address(address, network):
    assert network_of(address) == network

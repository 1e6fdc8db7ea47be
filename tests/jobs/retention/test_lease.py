"""The lease: one holder at a time, by the database's clock."""

import threading
from datetime import timedelta

import pytest
from django.db import OperationalError, connections
from django.utils import timezone

from jobs.leases import Lease
from jobs.retention import lease
from jobs.retention.lease import LEASE_SECONDS, LeaseHolder

pytestmark = pytest.mark.django_db(transaction=True)


def test_take__one_at_a_time() -> None:
    first, second = LeaseHolder("work"), LeaseHolder("work")
    assert first.take()
    assert not second.take()
    assert first.take()
    assert LeaseHolder("other work").take()


def test_take__once_the_holder_is_silent() -> None:
    first, second = LeaseHolder("work"), LeaseHolder("work")
    first.take()
    Lease.objects.update(until=timezone.now() - timedelta(milliseconds=1))
    assert second.take()
    assert not first.take()


def test_take__holds_for_so_long() -> None:
    LeaseHolder("work").take()
    left = Lease.objects.get().until - timezone.now()
    assert abs(left.total_seconds() - lease.LEASE_SECONDS) < 5


def test_give_back__lets_another_take_it_at_once() -> None:
    first, second = LeaseHolder("work"), LeaseHolder("work")
    first.take()
    second.give_back()  # what it does not hold
    assert not second.take()
    first.give_back()
    assert second.take()


def test_keep__asks_the_database_when_it_is_time() -> None:
    first, second = LeaseHolder("work"), LeaseHolder("work")
    assert first.keep()
    Lease.objects.update(holder=second.holder)
    assert first.keep()  # not asked: it was held a moment ago
    first._taken_at -= lease.LEASE_SECONDS
    assert not first.keep()


def test_take__of_many_at_once_one_gets_it() -> None:
    start, taken = threading.Barrier(8), []

    def take() -> None:
        start.wait()
        taken.append(LeaseHolder("work").take())
        connections.close_all()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 7 + [True]


def test_take__of_one_who_began_a_moment_earlier_than_who_has_it_fails() -> None:
    """PostgreSQL's clock for a statement is when that began, and what it sees may be of later."""
    first, second = LeaseHolder("work"), LeaseHolder("work")
    first.take()
    Lease.objects.update(until=timezone.now() + timedelta(seconds=LEASE_SECONDS + 5))
    assert not second.take()


def test_take__after_the_clock_was_set_back() -> None:
    """A lease that ends later than any may is of a clock that was wrong, and nobody might take it for hours."""
    first, second = LeaseHolder("work"), LeaseHolder("work")
    first.take()
    Lease.objects.update(until=timezone.now() + timedelta(hours=1))
    assert second.take()


def test_keep__what_was_lost_stays_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the tasks that follow in the pass would run beside those of the new holder."""
    first = LeaseHolder("work")
    assert first.take()
    Lease.objects.update(holder="another")
    first._taken_at -= lease.LEASE_SECONDS
    assert [first.keep(), first.keep()] == [False, False]

    def away(work: object) -> bool:
        raise OperationalError("the database is away")

    monkeypatch.setattr(lease, "with_retries", away)
    for _ in range(2):
        with pytest.raises(OperationalError):
            first.keep()

"""A loop that reports itself."""

from collections.abc import Iterator

import pytest

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import track
from tests.jobs.reporting.reported import stored

pytestmark = pytest.mark.django_db


def test_track__completes_with_the_last_item(job: ProcessingJobLifecycle) -> None:
    assert list(track([1, 2, 3], job)) == [1, 2, 3]
    assert (stored().status, stored().metadata["total"]) == ("completed", 3)


def test_track__generator_has_no_total(job: ProcessingJobLifecycle) -> None:
    def items() -> Iterator[int]:
        yield from range(3)

    assert list(track(items(), job)) == [0, 1, 2]
    assert "total" not in stored().metadata


def test_track__loop_left_early_is_cancelled(job: ProcessingJobLifecycle) -> None:
    items = track([1, 2, 3], job)
    next(items)
    items.close()
    assert stored().status == "cancelled"

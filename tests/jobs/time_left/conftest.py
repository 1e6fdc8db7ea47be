"""The clock by which the runs of these tests go."""

import time
from collections.abc import Iterator
from unittest import mock

import pytest


@pytest.fixture
def clock() -> Iterator[mock.Mock]:
    """The monotonic clock, which stands at 100 seconds until a test sets it."""
    with mock.patch.object(time, "monotonic", return_value=100.0) as monotonic:
        yield monotonic

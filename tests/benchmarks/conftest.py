"""What the tests of the load client share."""

from collections.abc import Iterator

import pytest

from tests.benchmarks.wired import Wired


@pytest.fixture
def wired() -> Iterator[Wired]:
    made = Wired()
    yield made
    made.close()

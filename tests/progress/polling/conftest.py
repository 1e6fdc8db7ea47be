"""Fixtures of the tests of polling."""

from collections.abc import AsyncIterator

import pytest

from progress.polling import waits
from tests.progress.polling.asking import Client
from tests.progress.sockets import is_without_trace


@pytest.fixture
async def polls() -> AsyncIterator[Client]:
    """A client under ASGI; after the test, nothing of any wait is left."""
    yield Client()
    waits.current().drain()
    await is_without_trace()

"""Fixtures of the tests of polling."""

from collections.abc import AsyncIterator

import pytest
from django.test import AsyncClient

from progress.polling import waits
from tests.progress.sockets import is_without_trace


@pytest.fixture
async def polls(async_client: AsyncClient) -> AsyncIterator[AsyncClient]:
    """A client under ASGI; after the test, nothing of any wait is left."""
    yield async_client
    waits.current().drain()
    await is_without_trace()

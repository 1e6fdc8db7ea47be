"""What the tests of the client share."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from progress.client import connection as client
from tests.progress.client.following import Watcher
from tests.progress.scripted_server import ScriptedServer


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BACKOFF_MIN", 0.0)


@pytest.fixture
async def follow(server: ScriptedServer) -> AsyncIterator[Callable[..., Watcher]]:
    watchers: list[Watcher] = []

    def start(url: str = "", **options: Any) -> Watcher:
        watchers.append(Watcher(url or server.url, **options))
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.task.cancel()
    await asyncio.gather(*(watcher.task for watcher in watchers), return_exceptions=True)

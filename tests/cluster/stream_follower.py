"""A client of server-sent events for the tests that keeps all that it is sent, and comes back as a browser does."""

import asyncio
import contextlib
from collections.abc import Callable
from ssl import SSLContext
from typing import Any, Self

from tests.cluster.follower import TERMINAL
from tests.streams import WAIT_SECONDS, Event, Frame, get


class StreamFollower:
    """Follows the jobs of a URL. Whenever a stream ends, it comes back with the last id."""

    def __init__(self, port: int, path: str, tls: SSLContext | None = None) -> None:
        self.port = port
        self.path = path
        self.tls = tls
        self.events: list[Event] = []
        self.statuses: list[int] = []
        self.last_id = ""
        self._news = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.ensure_future(self._follow())
        await self.until(lambda: bool(self.frames("snapshot")))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def frames(self, *kinds: str) -> list[Frame]:
        return [event.frame for event in self.events if event.frame["type"] in kinds]

    def seqs(self, job_id: str) -> list[int]:
        return [frame["seq"] for frame in self.frames("progress") if frame["job_id"] == job_id]

    def is_finished(self, job_id: str) -> bool:
        of_job = [frame for frame in self.frames("progress", "snapshot") if frame["job_id"] == job_id]
        return bool(of_job) and of_job[-1]["status"] in TERMINAL

    async def until(self, met: Callable[[], Any]) -> None:
        async with asyncio.timeout(WAIT_SECONDS), self._news:
            while not met():
                if self._task is not None and self._task.done():
                    self._task.result()
                await self._news.wait()

    async def _follow(self) -> None:
        try:
            while True:
                with contextlib.suppress(OSError, EOFError):  # `IncompleteReadError` is one
                    await self._keep()
                await asyncio.sleep(0.05)  # the server is gone: only trying again tells when it is back
        finally:
            async with self._news:
                self._news.notify_all()

    async def _keep(self) -> None:
        headers = {"Last_Event_ID": self.last_id} if self.last_id else {}
        async with get(self.port, self.path, tls=self.tls, **headers) as response:
            self.statuses.append(response.status)
            if response.status != 200:
                return
            response.parser.last_id = self.last_id
            while True:
                event = await response.next()
                self.last_id = event.last_id
                self.events.append(event)
                async with self._news:
                    self._news.notify_all()

"""A client for the tests that keeps all that it is sent, and resumes if it is told to."""

import asyncio
import json
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

WAIT_SECONDS = 40.0  # how long a test waits for what must come
TERMINAL = {"completed", "failed", "cancelled"}
Frame = dict[str, Any]


class Follower:
    """Follows one job, and keeps every frame in the order in which it came.

    Deliberately not our own client: it drops nothing, so that what the server sends twice is seen.
    """

    def __init__(self, ws_url: str, job_id: str, *, resumes: bool = False) -> None:
        self.url = f"{ws_url}/progress/ws/{job_id}"
        self.job_id = job_id
        self.resumes = resumes
        self.frames: list[Frame] = []
        self.connections = 0
        self.news = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.ensure_future(self._follow())
        await self.until(lambda: any(frame["type"] == "snapshot" for frame in self.frames))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def events(self) -> list[Frame]:
        """The events, without the snapshots."""
        return [frame for frame in self.frames if frame["type"] == "progress"]

    @property
    def seqs(self) -> list[int]:
        return [frame["seq"] for frame in self.events]

    @property
    def last(self) -> Frame:
        """The state that a person would see now."""
        return next(frame for frame in reversed(self.frames) if "job_id" in frame)

    async def until(self, met: Any) -> None:
        """Wait until a condition on the frames is met."""
        async with asyncio.timeout(WAIT_SECONDS), self.news:
            while not met():
                if self._task is not None and self._task.done():
                    self._task.result()
                    raise AssertionError(f"the connection ended after {self.frames[-3:]}")
                await self.news.wait()

    async def until_at(self, seq: int) -> None:
        """Wait until the state is that of a position."""
        await self.until(lambda: self.last["seq"] == seq)

    async def until_finished(self) -> None:
        """Wait until the job has ended."""
        await self.until(lambda: self.last["status"] in TERMINAL)

    async def _follow(self) -> None:
        try:
            while True:
                try:
                    async with connect(self._resuming_url(), ping_interval=None, max_queue=None) as socket:
                        self.connections += 1
                        await self._keep(socket)
                except (ConnectionClosed, OSError):
                    if not self.resumes:
                        raise
                    await asyncio.sleep(0.05)  # the server is gone: only trying again tells when it is back
        finally:
            async with self.news:
                self.news.notify_all()

    async def _keep(self, socket: ClientConnection) -> None:
        async for text in socket:
            self.frames.append(json.loads(text))
            async with self.news:
                self.news.notify_all()

    def _resuming_url(self) -> str:
        snapshots = [frame for frame in self.frames if frame["type"] == "snapshot"]
        if not snapshots:
            return self.url
        return f"{self.url}?epoch={snapshots[-1]['epoch']}&seq={self.last['seq']}"


class Worker:
    """A worker process that waits for a word before each of its parts."""

    def __init__(self, process: Any) -> None:
        self.process = process

    async def go(self) -> None:
        """Let it do its next part."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    async def says(self) -> str:
        """Return the next line that it prints."""
        line: str = await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), WAIT_SECONDS)
        assert line, self.process.stderr.read()
        return line.strip()

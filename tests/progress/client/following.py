"""What the tests of the client share: a watch in the background."""

import asyncio
from typing import Any

from progress.client.connection import ConnectionState, watch


class Watcher:
    """A watch in the background, whose frames and changes of the connection a test awaits."""

    def __init__(self, url: str, **options: Any) -> None:
        self.frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.states: asyncio.Queue[ConnectionState] = asyncio.Queue()
        self.task = asyncio.create_task(self._run(url, options))

    async def _run(self, url: str, options: dict[str, Any]) -> None:
        async for frame in watch(url, "job-1", on_state_change=self.states.put_nowait, **options):
            self.frames.put_nowait(frame)

    async def seqs(self, count: int) -> list[int]:
        return [(await asyncio.wait_for(self.frames.get(), 10))["seq"] for _ in range(count)]

    async def state(self) -> ConnectionState:
        return await asyncio.wait_for(self.states.get(), 10)

    async def ends(self) -> list[int]:
        """Wait for the end, and return the seq of the frames that were not looked at yet."""
        await asyncio.wait_for(self.task, 10)
        return [self.frames.get_nowait()["seq"] for _ in range(self.frames.qsize())]

"""Many who watch one job through a proxy, by the client that programs use, and what each of them sees and suffers."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from progress.client.connection import ConnectionState, Cursor, Frame, watch

WAIT_SECONDS = 30.0  # how long a test waits for what must come
REFUSALS = ("HTTP 502", "HTTP 503", "HTTP 504")

# Reports so many times a second, until its input ends; then the job ends.
WORKER = """
import select, sys, time
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle.create("job-1", public=True)
job.mark_started()
print("started", flush=True)
pause, number = 1 / float(sys.argv[1]), 0
while not select.select([sys.stdin], [], [], pause)[0]:
    number += 1
    job.mark_progress(current=number, total=1_000_000)
job.mark_completed()
"""


class CountingCursor(Cursor):
    """A cursor that counts what came a second time, which the client would pass over in silence."""

    doubled = 0

    def accept(self, frame: Frame) -> bool:
        is_event = frame.get("type") == "progress" and frame.get("job_id") == self.job_id
        CountingCursor.doubled += is_event and frame["seq"] <= self.seq
        return super().accept(frame)


class Watcher:
    """One of them.

    ``seen``: the events and snapshots, as they came. ``losses``: why its connection was lost, each time. ``away``: for
    how many seconds, each time.
    """

    def __init__(self, crowd: "Crowd") -> None:
        self.crowd = crowd
        self.seen: list[tuple[str, int]] = []  # type and seq
        self.losses: list[str] = []
        self.away: list[float] = []
        self.is_connected = False
        self._lost_at = 0.0

    async def follow(self, url: str) -> None:
        """Watch the job to its end."""
        async for frame in watch(url, "job-1", on_state_change=self._change):
            self.seen.append((frame["type"], frame["seq"]))
            self.crowd.news.set()

    def _change(self, state: ConnectionState) -> None:
        if state.connected and self.losses:
            self.away.append(time.monotonic() - self._lost_at)
        elif not state.connected:
            if self.is_connected:
                self._lost_at = time.monotonic()
            self.losses.append(state.reason)
        self.is_connected = state.connected
        self.crowd.news.set()

    @property
    def missing(self) -> int:
        """How many events it did not get one by one, whether a snapshot stood for them or nothing did."""
        (_, last), *later = self.seen
        missing = 0
        for _, seq in later:
            missing += max(seq - last - 1, 0)
            last = max(last, seq)
        return missing


class Crowd:
    """All of them."""

    def __init__(self, url: str, size: int) -> None:
        self.watchers = [Watcher(self) for _ in range(size)]
        self.news = asyncio.Event()
        self._url = url
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        CountingCursor.doubled = 0
        self._tasks = [asyncio.create_task(watcher.follow(self._url)) for watcher in self.watchers]
        await self.until(self.all_connected)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def all_connected(self) -> bool:
        """Whether nobody is away."""
        return all(watcher.is_connected for watcher in self.watchers)

    def lost(self) -> int:
        """How often a connection was lost."""
        return sum(len(watcher.losses) for watcher in self.watchers)

    def refusals(self) -> list[str]:
        """How often the proxy said that there is no server."""
        return [why for watcher in self.watchers for why in watcher.losses if any(code in why for code in REFUSALS)]

    async def until(self, met: Callable[[], Any]) -> None:
        """Wait until a condition on the watchers is met."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not met():
                self.news.clear()
                for task in self._tasks:
                    if task.done():
                        task.result()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.news.wait(), 1)

    async def back(self, losses: int) -> float:
        """Wait until so many connections were lost and all are back; return how long the longest was away."""
        await self.until(lambda: self.lost() >= losses and self.all_connected())
        return max((seconds for watcher in self.watchers for seconds in watcher.away), default=0.0)

    def forget(self) -> None:
        """Count losses from here on anew."""
        for watcher in self.watchers:
            watcher.losses.clear()
            watcher.away.clear()

    async def finished(self) -> None:
        """Wait until each has seen the end."""
        await asyncio.wait_for(asyncio.gather(*self._tasks), WAIT_SECONDS)

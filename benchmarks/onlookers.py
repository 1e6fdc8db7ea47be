"""People who look on: sockets that watch one job or all of them, and note how late each event comes, and what is wrong.

Started by a claim with a plan (JSON) as its argument: the URL, how many sockets, what each says first. It says «there»
once all have an answer, and, at the end of its standard input, what they saw. A worker writes into the ``metadata`` of
each event when it was ``sent``.
"""

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from benchmarks import harness
from benchmarks.latency import percentile

SENT = re.compile(r'"sent":([\d.]+)')
GRACE_SECONDS = 5.0  # for what is still under way at the end


class Crowd:
    """The process of some onlookers, as a claim has it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def seen(self) -> dict[str, Any]:
        """Have them go, and return what they saw."""
        output, _ = self._process.communicate(timeout=120)
        report: dict[str, Any] = json.loads(output)
        return report


@contextlib.contextmanager
def there(url: str, sockets: int, first: str = "") -> Iterator[Crowd]:
    """Have onlookers at a URL, each of whom says something first."""
    plan = json.dumps({"url": url, "sockets": sockets, "first": first})
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "benchmarks.onlookers", plan]
    process = subprocess.Popen(command, cwd=harness.ROOT, stdin=pipe, stdout=pipe, text=True)
    try:
        assert process.stdout
        if process.stdout.readline() != "there\n":
            raise RuntimeError("the onlookers did not come")
        yield Crowd(process)
    finally:
        process.kill()
        process.wait()


# In their process


_frames: dict[str, str] = {}  # each once: most onlookers are sent the same


class Onlooker:
    """One socket, and what it was shown; looked at when all is over, since that takes longer than to receive it."""

    def __init__(self) -> None:
        self.received: list[tuple[float, str]] = []  # when each frame came
        self.delays: dict[str, float] = {}  # ms, of each event when it came first
        self.snapshots = self.gaps = 0
        self.gone_at = 0.0  # when the job was no longer there
        self._seq = 0

    async def look_on(self, socket: ClientConnection) -> None:
        """Look on until the socket is closed."""
        async for frame in socket:
            self.received.append((time.time(), _frames.setdefault(str(frame), str(frame))))

    def start(self, first: str) -> None:
        """Note the answer, of which the events were before."""
        kind, self._seq, _ = _contents(first)
        self.snapshots += kind == "snapshot"

    def look_back(self) -> None:
        """Note what the frames have shown."""
        for at, frame in self.received:
            kind, seq, all_sent = _contents(frame)
            for sent in all_sent:
                self.delays.setdefault(sent, 1e3 * (at - float(sent)))
            if kind in ("progress", "snapshot"):
                self.gaps += kind == "progress" and seq != self._seq + 1
                self.snapshots += kind == "snapshot"
                self._seq = seq
            elif kind == "error":
                self.gone_at = self.gone_at or at


@cache
def _contents(frame: str) -> tuple[str, int, tuple[str, ...]]:
    message = json.loads(frame)
    return message["type"], message.get("seq", 0), tuple(SENT.findall(frame))


async def _look_on(plan: dict[str, Any]) -> None:
    onlookers = [Onlooker() for _ in range(plan["sockets"])]
    async with contextlib.AsyncExitStack() as stack:
        tasks = []
        for onlooker in onlookers:
            socket = await stack.enter_async_context(connect(plan["url"], max_queue=None, max_size=None))
            if plan["first"]:
                await socket.send(plan["first"])
            onlooker.start(str(await socket.recv()))
            tasks.append(asyncio.ensure_future(onlooker.look_on(socket)))
        print("there", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await _quiet(onlookers)
    await asyncio.gather(*tasks)
    for onlooker in onlookers:
        onlooker.look_back()
    print(json.dumps(_report(onlookers)), flush=True)


async def _quiet(onlookers: list[Onlooker]) -> None:
    """Wait until nothing new comes."""
    before = -1
    ends = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < ends and (now := sum(len(each.received) for each in onlookers)) != before:
        before = now
        await asyncio.sleep(0.3)


def _report(onlookers: list[Onlooker]) -> dict[str, Any]:
    each = [sorted(onlooker.delays.values()) for onlooker in onlookers]
    return {
        "seen": [len(delays) for delays in each],
        "p99": max(percentile(delays, 99) for delays in each if delays) if any(each) else 0.0,
        "slowest": max(delays[-1] for delays in each if delays) if any(each) else 0.0,
        "gaps": sum(onlooker.gaps for onlooker in onlookers),
        "snapshots": sum(onlooker.snapshots for onlooker in onlookers),
        "gone_at": [onlooker.gone_at for onlooker in onlookers],
    }


if __name__ == "__main__":
    asyncio.run(_look_on(json.loads(sys.argv[1])))

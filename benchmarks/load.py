"""The load client: many watchers in one process on one core, checking what it counts.

Started by ``harness.Load`` with a plan (JSON) as its argument. It connects, prints a line, waits for
``go``, lets the peer send, waits for the last event of every watcher, and prints a report.

Every byte is checked: the first watcher that gets an event compares each of its fields with `payload.fields`;
every other watcher must then get the same bytes, in the same order (`benchmarks.watcher`). The sockets are in an
epoll of their own, since asyncio would spend more on each than the reading costs.
"""

import asyncio
import contextlib
import gc
import json
import resource
import select
import socket
import struct
import sys
import time
import urllib.parse
from collections import Counter
from typing import Any

from benchmarks import sending, websocket
from benchmarks.tally import Tally
from benchmarks.watcher import Watcher

PARALLEL = 48  # handshakes under way: within the accept queue of every peer (Daphne's holds 50)
STALL_SECONDS = 5.0  # without any frame, after which what has not come counts as lost
ETHERNET_SEGMENT = 1448  # bytes
WAKE_SECONDS, WAKE_LOOKS = 10.0, 200  # how long slow watchers may take to catch up, and how often that is checked
LATE_SECONDS = 0.1  # how long is waited for what must not come: more than was asked for


class Load(Tally):
    """All watchers of a run: it opens their sockets, reads from them, and lets the peer send."""

    def __init__(self, plan: dict[str, Any]) -> None:
        super().__init__(plan)
        self.watchers: list[Watcher] = []
        self.idle = 0.0  # seconds of spinning without anything to read
        self.is_over = False
        self.began = 0.0
        self._spun_at = 0.0
        self._epoll = select.epoll()
        self._reading: dict[int, Watcher] = {}  # by file descriptor

    async def connect(self) -> None:
        """Open every socket, so many at once."""
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self.read)
        places = asyncio.Semaphore(PARALLEL)
        self.began = time.monotonic()
        await asyncio.gather(*(self.open(places, number) for number in range(self.plan["watchers"])))
        if self.plan.get("snapshots") and not self.plan.get("resumes"):
            async with asyncio.timeout(120):
                await self.all_ready.wait()

    async def open(self, places: asyncio.Semaphore, number: int) -> None:
        """Open one socket."""
        url = self.plan["own_url" if number < self.own_jobs else "url"].format(number)
        async with places:
            made = _ethernet_socket() if self.plan.get("ethernet") else None
            connection, rest = await websocket.connect(url, made)
        watcher = Watcher(self, number, connection, urllib.parse.urlsplit(url).path.rpartition("/")[2])
        self.watchers.append(watcher)
        if rest:
            watcher.take(rest)
        self.listen(watcher)

    def listen(self, watcher: Watcher) -> None:
        """Read from a socket whenever it has something."""
        self._reading[watcher.socket.fileno()] = watcher
        self._epoll.register(watcher.socket, select.EPOLLIN)

    def forget(self, watcher: Watcher) -> None:
        """Read no more from a socket."""
        if self._reading.pop(watcher.socket.fileno(), None):
            self._epoll.unregister(watcher.socket)

    def read(self) -> None:
        """Read from all sockets that have something."""
        ready = self._epoll.poll(0)
        self.reads += len(ready)
        for descriptor, _ in ready:
            self._reading[descriptor].read()

    def spin(self) -> None:
        """Read without ever sleeping, until all is over: the server, on loopback, would have to pay for waking us."""
        now, before = time.monotonic(), self.reads
        self.read()
        if self.reads == before:
            self.idle += now - self._spun_at
        self._spun_at = now
        if not self.is_over:
            asyncio.get_running_loop().call_soon(self.spin)

    def rest(self) -> None:
        """Spin no more; what still comes is read when it comes."""
        self.is_over = True
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self.read)

    def stall(self) -> None:
        """Let some watchers stop reading, as a phone in a tunnel does."""
        for watcher in self.watchers:
            if watcher.number < self.plan.get("stalled", 0):
                watcher.is_stalled = True
                self.forget(watcher)

    async def trigger(self) -> dict[str, Any]:
        """Let the peer send, and return its report."""
        # Not beside a publisher or a worker, who have this core as well; and at a rate we would only be hot.
        if self.plan["trigger"] == "ws" and not self.plan.get("rate"):
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._spun_at = time.monotonic()
            self.spin()
        match self.plan["trigger"]:
            case "ws":
                return await sending.command(self.plan)
            case "post":
                return await sending.post(self.plan)
            case _:
                return {}

    async def wait(self) -> None:
        """Wait until all have the last event, or nothing more comes."""
        seen, since = -1, time.monotonic()
        patience = self.plan.get("patience", STALL_SECONDS)
        while not self.all_finished.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.all_finished.wait(), 0.05)
            if self.reads != seen:
                seen, since = self.reads, time.monotonic()
                self.last_at = max(self.last_at, since) if not self.all_finished.is_set() else self.last_at
            elif time.monotonic() - since > patience:
                return

    async def wake(self) -> None:
        """Let those who stopped reading go on, and wait until each has the end or has been closed."""
        sleepers = [watcher for watcher in self.watchers if watcher.is_stalled]
        for watcher in sleepers:
            watcher.wake()
            self.listen(watcher)
        for _ in range(WAKE_LOOKS):
            if all(watcher.end for watcher in sleepers):
                break
            await asyncio.sleep(WAKE_SECONDS / WAKE_LOOKS)

    def report(self, sent: dict[str, Any], cpu: float) -> dict[str, Any]:
        """Return what was seen."""
        slow = [watcher for watcher in self.watchers if watcher.is_stalled]
        kept = [watcher for watcher in self.watchers if not watcher.is_stalled]
        self.count("events out of order", sum(watcher.disorder for watcher in self.watchers))
        self.count("bytes behind the last event", sum(watcher.has_more for watcher in self.watchers))
        self.count("a slow watcher without the final state or a close code", sum(not each.end for each in slow))
        # Stages are never coalesced, so one that has the last event must have all.
        self.count("a slow watcher that lost events", sum(each.end == "caught up" and each.lost > 0 for each in slow))
        return {
            "got": sum(watcher.got for watcher in kept),
            "lost": sum(watcher.missing for watcher in kept),
            "problems": dict(self.problems),
            "first": min((watcher.last for watcher in kept), default=0) - self.events + 1,
            "began": sent.get("began", self.began),
            "last_at": self.last_at,
            "client_cpu": cpu - self.idle + sent.get("publisher_cpu", 0.0),
            "sent": sent.get("stamps", []),
            "stamps": self.stamps,
            "slow": Counter(watcher.end for watcher in slow),
        }

    def close(self) -> None:
        """Cut all sockets, without leaving their ports in TIME_WAIT."""
        self._epoll.close()
        for watcher in self.watchers:
            watcher.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            watcher.socket.close()


def _ethernet_socket() -> socket.socket:
    """Return a socket with the segments of a real network: those of loopback let Linux buffer 4 MB for each."""
    made = socket.socket()
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, ETHERNET_SEGMENT)
    return made


async def main(plan: dict[str, Any]) -> None:
    """Run a plan."""
    load = Load(plan)
    cpu = time.process_time()
    await load.connect()
    gc.collect()
    gc.freeze()
    say({"connected": time.monotonic() - load.began})
    if not plan.get("resumes"):
        await asyncio.to_thread(sys.stdin.readline)
        cpu = time.process_time()
    load.stall()
    sent = await load.trigger()
    await load.wait()
    used = time.process_time() - cpu
    load.rest()
    say({"middle": True})
    await asyncio.to_thread(sys.stdin.readline)
    if plan.get("stalled"):
        await load.wake()
    await asyncio.sleep(LATE_SECONDS)
    say(load.report(sent, used))
    load.close()


def say(message: dict[str, Any]) -> None:
    """Print a line for the harness."""
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(json.loads(sys.argv[1])))

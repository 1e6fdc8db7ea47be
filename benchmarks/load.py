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

from benchmarks import payload, websocket
from benchmarks.watcher import READ_BYTES, Known, Watcher

PARALLEL = 48  # handshakes under way: within the accept queue of every peer (Daphne's holds 50)
STALL_SECONDS = 5.0  # without any frame, after which what has not come counts as lost
ETHERNET_SEGMENT = 1448  # bytes
WAKE_SECONDS, WAKE_LOOKS = 10.0, 200  # how long slow watchers may take to catch up, and how often that is checked


class Load:
    """All watchers of a run, and what they have seen together."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.events: int = plan["events"]
        self.base: int = plan.get("base", payload.BASE)
        self.stamping: bool = plan.get("stamping", False)
        self.shares: bool = plan.get("shares", True)  # whether all watch the same job
        self.known = Known(self.base)
        self.goal = sys.maxsize  # where what is known ends, once it holds the last event
        self.stamps: list[tuple[int, float]] = []
        self.problems: Counter[str] = Counter()
        self.watchers: list[Watcher] = []
        self.reads = 0
        self._epoll = select.epoll()
        self._reading: dict[int, Watcher] = {}  # by file descriptor
        self.ready = self.finished = 0
        self.last_at = 0.0
        self.began = 0.0
        self.all_ready, self.all_finished = asyncio.Event(), asyncio.Event()

    # What the watchers tell

    def is_right(self, fields: dict[str, Any], data: bytes, number: int) -> bool:
        """Tell whether an event holds what was sent; real writes have their own time and progress."""
        if self.plan.get("loose"):
            job = self.plan["job"].format(number) if "job" in self.plan else payload.JOB
            return bool(fields["job_id"] == job and fields["message"].startswith("Item "))
        wanted = payload.fields(fields["seq"], self.plan["size"])
        same = {**wanted, "message": fields["message"]} == fields
        return same and len(data) == self.plan["size"] and fields["message"].rstrip(".") == "Item "

    def stamp(self, watcher: Watcher, seq: int, moment: float) -> None:
        """Note when an event came; those who are to stall are not asked."""
        if not watcher.is_stalled:
            self.stamps.append((seq, moment))

    def forget(self, watcher: Watcher) -> None:
        """Read no more from a socket."""
        if self._reading.pop(watcher.socket.fileno(), None):
            self._epoll.unregister(watcher.socket)

    def one_ready(self) -> None:
        """Count a watcher that has its snapshot."""
        self.ready += 1
        if self.ready == self.plan["watchers"]:
            self.all_ready.set()

    def one_finished(self) -> None:
        """Count a watcher that has the last event."""
        self.finished += 1
        self.last_at = time.monotonic()
        if self.finished == self.plan["watchers"] - self.plan.get("stalled", 0):
            self.all_finished.set()

    # The run

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
        urls = self.plan["urls"]
        async with places:
            made = _ethernet_socket() if self.plan.get("ethernet") else None
            connection, rest = await websocket.connect(urls[number % len(urls)].format(number), made)
        watcher = Watcher(self, number, connection)
        self.watchers.append(watcher)
        if rest:
            watcher.take(rest)
        self.listen(watcher)

    def listen(self, watcher: Watcher) -> None:
        """Read from a socket whenever it has something."""
        self._reading[watcher.socket.fileno()] = watcher
        self._epoll.register(watcher.socket, select.EPOLLIN)

    def read(self) -> None:
        """Read from all sockets that have something."""
        ready = self._epoll.poll(0)
        self.reads += len(ready)
        for descriptor, _ in ready:
            self._reading[descriptor].read()

    def stall(self) -> None:
        """Let some watchers stop reading, as a phone in a tunnel does."""
        for watcher in self.watchers[: self.plan.get("stalled", 0)]:
            watcher.is_stalled = True
            self.forget(watcher)

    async def trigger(self) -> dict[str, Any]:
        """Let the peer send, and return its report."""
        match self.plan["trigger"]:
            case "ws":
                return await self.command()
            case "post":
                return await self.post()
            case _:
                return {}

    async def command(self) -> dict[str, Any]:
        """Send the control message."""
        names = "events", "size", "burst", "rate", "writes"
        query = urllib.parse.urlencode({name: self.plan[name] for name in names if name in self.plan})
        origin = "/".join(self.plan["urls"][0].split("/")[:3])
        loop = asyncio.get_running_loop()
        control, data = await websocket.connect(f"{origin}/bench/run?{query}")
        with control:
            while True:
                for opcode, begin, end in websocket.frames(data):
                    if opcode == websocket.TEXT:
                        return json.loads(data[begin:end])  # type: ignore[no-any-return]
                more = await loop.sock_recv(control, READ_BYTES)
                if not more:
                    raise RuntimeError("the server closed the control socket without a report")
                data += more

    async def post(self) -> dict[str, Any]:
        """Publish over one HTTP connection, a burst of requests ahead of the answers, so that it never waits."""
        host, port = urllib.parse.urlsplit(self.plan["urls"][0]).netloc.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        texts = [payload.text(payload.fields(self.base + n, self.plan["size"])) for n in range(1, self.events + 1)]
        began = time.monotonic()
        for number, text in enumerate(texts):
            writer.write(f"POST /pub HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
            if number >= self.plan["burst"]:
                await _answer(reader)
        for _ in texts[-self.plan["burst"] :]:
            await _answer(reader)
        writer.close()
        return {"began": began}

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
            self.listen(watcher)
        for _ in range(WAKE_LOOKS):
            if all(map(_is_served, sleepers)):
                break
            await asyncio.sleep(WAKE_SECONDS / WAKE_LOOKS)
        unserved = sum(not _is_served(watcher) for watcher in sleepers)
        if unserved:
            self.problems["a slow watcher without the final state or a close code"] += unserved

    def report(self, sent: dict[str, Any], cpu: float) -> dict[str, Any]:
        """Return what was seen."""
        kept = [watcher for watcher in self.watchers if not watcher.is_stalled]
        lost = sum(watcher.lost + max(watcher.last + 1 - watcher.next, 0) for watcher in kept)
        disorder = sum(watcher.disorder for watcher in self.watchers)
        if disorder:
            self.problems["events out of order"] += disorder
        return {
            "got": sum(watcher.got for watcher in kept),
            "lost": lost,
            "problems": dict(self.problems),
            "first": min((watcher.last for watcher in kept), default=0) - self.events + 1,
            "began": sent.get("began", self.began),
            "last_at": self.last_at,
            "client_cpu": cpu,
            "server_cpu": sent.get("cpu"),
            "sent": sent.get("stamps", []),
            "stamps": self.stamps,
            "slow": Counter(map(_end_of, (watcher for watcher in self.watchers if watcher.is_stalled))),
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


def _is_served(watcher: Watcher) -> bool:
    return bool(_end_of(watcher))


def _end_of(watcher: Watcher) -> str:
    """Say how a slow watcher ended; cut off is as good as closed, since its client resumes from its position."""
    if watcher.next == watcher.last + 1:
        return "caught up"
    if watcher.close_code is not None:
        return f"closed {watcher.close_code}"
    return "cut off" if watcher.is_gone else ""


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith((b"HTTP/1.1 201", b"HTTP/1.1 202")):
        raise RuntimeError(head.decode())
    sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(int(sizes[0].split(b":")[1]))


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
    say({"middle": True})
    await asyncio.to_thread(sys.stdin.readline)
    if plan.get("stalled"):
        await load.wake()
    say(load.report(sent, used))
    load.close()


def say(message: dict[str, Any]) -> None:
    """Print a line for the harness."""
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(json.loads(sys.argv[1])))

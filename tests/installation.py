"""One installation of the site, as an operator has it: a database, perhaps a Redis, processes.

`Site` is the installation, `Served` a server process of it.
"""

import contextlib
import http.client
import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Any, Literal

import psycopg

from tests.ports import free_port
from tests.servers import POLL_SECONDS, Server

ROOT = Path(__file__).resolve().parent.parent
COMMAND_SECONDS = 60.0  # how long a command may take
STOP_SECONDS = 20.0  # how long a server may take to stop
LOG_SECONDS = 30.0  # how long what is awaited in a log may take

Kind = Literal["serve", "daphne", "runserver", "uvicorn", "hypercorn"]
APPLICATION = "progress_site.asgi:application"

# What a worker's process does before its own script; the arguments follow in sys.argv as usual.
WORKER = """\
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.worker_settings")
import django
django.setup()
source = sys.argv.pop(1)
exec(compile(source, "worker", "exec"), {"__name__": "__main__"})
"""


def _environment(own: dict[str, str]) -> dict[str, str]:
    """Return the environment of a process of the site, which nothing of the test run leaks into."""
    foreign = ("DJANGO_", "DATABASE_", "REDIS_", "PROGRESS_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "DJANGO_DEBUG": "1", "PYTHONUNBUFFERED": "1", **own}


class Served(Server):
    """A server process; ``start`` brings it back on the same port."""

    site: "Site"  # the installation that it serves

    def __init__(
        self,
        kind: Kind,
        env: dict[str, str],
        folder: Path,
        options: tuple[str, ...] = (),
        application: str = APPLICATION,
    ) -> None:
        self.kind = kind
        self.env = env
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}"
        self._command = _server_command(kind, self.port, options, application)
        self.log = folder / f"{kind}-{self.port}.log"

    def start(self) -> "Served":
        """Start it, unless it runs, and wait until it answers HTTP."""
        if not self.running:
            self.launch(self._command, self._answers, cwd=ROOT, env=self.env)
        return self

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._end(SIGKILL)

    def stop(self) -> int:
        """Ask it to end, wait, and return its exit status."""
        return self._end(SIGTERM)

    def signal(self, number: Signals) -> None:
        """Send it a signal, and don't wait."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended, and return its exit status."""
        return self.process.wait(STOP_SECONDS)

    def wait_for_log(self, text: str, times: int = 1) -> None:
        """Wait until it has printed something so often, of which nothing else tells."""
        deadline = time.monotonic() + LOG_SECONDS
        while self.log_text().count(text) < times:
            assert time.monotonic() < deadline, f"{text!r} was not logged:\n{self.log_text()}"
            time.sleep(POLL_SECONDS)

    def log_text(self) -> str:
        """Return all that it has printed, over all its starts."""
        return self.log.read_text(errors="replace")

    def _end(self, how: Signals) -> int:
        self.signal(how)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.signal(SIGKILL)
            self.wait()
            raise AssertionError(f"{self.kind} did not end on {how.name}:\n{self.log_text()}") from None

    def _answers(self) -> bool:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection:
            try:
                connection.request("GET", "/")
                connection.getresponse()  # whatever it says, it answers
            except (OSError, http.client.HTTPException):
                return False
        return True


def _server_command(kind: Kind, port: int, options: tuple[str, ...], application: str) -> list[str]:
    host, number, python = "127.0.0.1", str(port), sys.executable
    match kind:
        case "serve":
            return [python, "manage.py", "serve", "-b", host, "-p", number, *options, application]
        case "daphne":
            return [python, "-m", "daphne", "-b", host, "-p", number, *options, application]
        case "runserver":
            return [python, "manage.py", "runserver", "--noreload", *options, f"{host}:{number}"]
        case "uvicorn":
            # The seconds bound its wait for sockets that stay open.
            how = ["--host", host, "--port", number, "--ws", "websockets", "--timeout-graceful-shutdown", "3"]
            return [python, "-m", "uvicorn", *how, *options, application]
        case "hypercorn":
            # With workers of their own, a server that is killed would leave them behind.
            how = ["-b", f"{host}:{number}", "--graceful-timeout", "3", "--workers", "0"]
            return [python, "-m", "hypercorn", *how, *options, application]


class Site:
    """An installation with a database of its own, migrated, and the processes that a test starts in it."""

    def __init__(self, database_url: str, folder: Path, redis_url: str = "", **settings: str) -> None:
        self.database_url = database_url
        self.redis_url = redis_url
        self.folder = folder
        own = {"DATABASE_URL": database_url, **({"REDIS_URL": redis_url} if redis_url else {}), **settings}
        self.env = _environment(own)
        self._servers: list[Served] = []
        self._workers: list[subprocess.Popen[str]] = []

    def serve(self, *options: str, kind: Kind = "serve", application: str = APPLICATION, **settings: str) -> Served:
        """Start a server and wait until it answers.

        Args:
            options: More arguments of its command line.
            kind: Which server.
            application: What it serves, as ``module:name``; not asked of ``runserver``.
            settings: More of its environment, such as ``PROGRESS_HEARTBEAT_SECONDS="0.5"``.

        """
        served = Served(kind, {**self.env, **settings}, self.folder, options, application)
        served.site = self
        self._servers.append(served)
        return served.start()

    def manage(self, *arguments: str, status: int = 0, **settings: str) -> str:
        """Run a command of ``manage.py`` and return what it prints; fail unless it exits with ``status``."""
        command = [sys.executable, "manage.py", *arguments]
        env = {**self.env, **settings}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=COMMAND_SECONDS)
        assert done.returncode == status, f"{arguments} exited with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def worker(self, script: str | Path, *arguments: str, **settings: str) -> str:
        """Run a script in another process, with Django set up, and return what it prints.

        Args:
            script: The source, or the path of a file with it.
            arguments: Its ``sys.argv[1:]``.
            settings: More of its environment.

        """
        return finish(self.start_worker(script, *arguments, **settings))

    def start_worker(self, script: str | Path, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        """Start what `worker` runs, and don't wait; ``finish`` waits. Its input and output are pipes."""
        source = script.read_text() if isinstance(script, Path) else textwrap.dedent(script)
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, source, *arguments],
            cwd=ROOT,
            env={**self.env, **settings},
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        self._workers.append(process)
        return process

    def events(self, job_id: str) -> list[dict[str, Any]]:
        """Return the log of a job, oldest first, each event with its columns as keys."""
        columns = "seq", "kind", "status", "progress", "message", "metadata", "timestamp"
        return self._rows("jobs_jobevent", columns, "job_id", job_id, "seq")

    def job(self, job_id: str) -> dict[str, Any]:
        """Return the row of a job."""
        columns = "id", "name", "status", "progress", "message", "metadata", "error", "attempt", "epoch", "seq"
        (row,) = self._rows("jobs_processingjob", columns, "id", job_id, "id")
        return row

    def close(self) -> None:
        """End all that was started here."""
        for served in self._servers:
            if served.running:
                served.kill()
        for process in self._workers:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream and not stream.closed:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()

    def _rows(self, table: str, columns: tuple[str, ...], key: str, value: str, order: str) -> list[dict[str, Any]]:
        query = f"SELECT {', '.join(columns)} FROM {table} WHERE {key} = {{}} ORDER BY {order}"
        if self.database_url.startswith("sqlite"):
            with contextlib.closing(sqlite3.connect(self.database_url.removeprefix("sqlite:///"))) as connection:
                rows = connection.execute(query.format("?"), [value]).fetchall()
        else:
            with psycopg.connect(self.database_url) as connection:
                rows = connection.execute(query.format("%s"), [value]).fetchall()
        return [_parsed(dict(zip(columns, row, strict=True))) for row in rows]


def _parsed(row: dict[str, Any]) -> dict[str, Any]:
    if isinstance(row.get("metadata"), str):  # SQLite keeps JSON as text
        row["metadata"] = json.loads(row["metadata"])
    return row


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a worker and return what it prints; fail unless it ends well."""
    output, errors = process.communicate(timeout=COMMAND_SECONDS)
    assert process.returncode == 0, f"the worker exited with {process.returncode}:\n{output}{errors}"
    return output

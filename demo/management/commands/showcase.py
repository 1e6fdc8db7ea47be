"""Runs for ``make run``: a server and a worker, each in a process of its own, and the job's bar in this one."""

import asyncio
import os
import signal
import socket
import stat
import sys
import tempfile
from argparse import ArgumentParser
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError

from jobs.actors import Actor
from jobs.exceptions import JobError
from jobs.ids import new_job_id
from jobs.lifecycle import ProcessingJobLifecycle
from progress.client.connection import WatchError
from progress.client.terminal import display_for, explain, show
from progress.management.printing import PrintingCommand

from ...folder import words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

HOST = "127.0.0.1"
START_SECONDS = 30.0  # how long the server may take to answer
STOP_SECONDS = 5.0  # how long a child may take to stop before it is killed
LAST_WORDS = 2000  # bytes of a child's output that are shown when it dies
SHOW_SECONDS = 40.0  # how long the job should take, so that there is something to see
MIN_RATE = 1.0  # megabytes a second, so that a small folder takes less
MAX_LISTED = 50_000  # files; more of them take long enough without a limit


class Command(PrintingCommand):
    """Serve, work and watch, until Ctrl-C."""

    help = "Starts a server, hashes a folder in a worker process, and shows the job live. Ctrl-C stops everything."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--port", type=int, default=8000, help="where to serve (default: 8000)")
        parser.add_argument(
            "--path",
            type=os.path.expanduser,
            default=sys.prefix,
            help="the folder to hash (default: that of this Python)",
        )
        parser.add_argument(
            "--max-rate",
            type=float,
            metavar="MB",
            help=f"megabytes a second at most (default: so that the job takes about {SHOW_SECONDS:g} seconds)",
        )

    def handle(self, **options: Any) -> None:
        """Run until Ctrl-C, SIGTERM or the end of the terminal; each of these stops all processes."""
        try:
            require_free_port(options["port"])
            asyncio.run(self.until_stopped(options))
        except KeyboardInterrupt:  # before the loop handles the signal
            self.stdout.write("\nStopped.")

    async def until_stopped(self, options: dict[str, Any]) -> None:
        """Run, and turn the signals into an orderly end."""
        main = asyncio.create_task(self.main(**options))
        loop = asyncio.get_running_loop()
        for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Once only: a second cancellation, while it waits for its children, would leave them behind.
            loop.add_signal_handler(kind, lambda: main.cancelling() or main.cancel())
        try:
            await main
        except asyncio.CancelledError:
            self.stdout.write("\nStopped.")

    async def main(self, *, port: int, path: str, max_rate: float | None, **_: Any) -> None:
        """Start the server, then the job; go on serving after the job has ended.

        Raises:
            CommandError: The server does not start, or ends.

        """
        async with AsyncExitStack() as children:
            server = await children.enter_async_context(child("serve", "-p", str(port)))
            await self.wait_for(server, port)
            served = asyncio.create_task(self.require_alive(server))
            work = asyncio.create_task(self.show_job(port, path, max_rate))
            try:
                await asyncio.wait({served, work}, return_when=asyncio.FIRST_COMPLETED)
                if not served.done():
                    await work
                    self.stdout.write(f"Still serving at http://{HOST}:{port}/ – Ctrl-C stops.")
                await served
            finally:
                for task in (work, served):
                    task.cancel()
                await asyncio.gather(work, served, return_exceptions=True)

    async def wait_for(self, server: "Child", port: int) -> None:
        """Wait until the server answers."""
        ended = asyncio.create_task(self.require_alive(server))
        answers = asyncio.create_task(answer(port))
        try:
            await asyncio.wait({ended, answers}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                await ended
            if not answers.done():
                raise CommandError(
                    f"The server did not answer within {START_SECONDS:g} seconds.\n{server.last_words()}"
                )
        finally:
            ended.cancel()
            answers.cancel()

    async def require_alive(self, server: "Child") -> None:
        """Raise CommandError once the server has ended."""
        code = await server.process.wait()
        raise CommandError(f"The server has ended ({exit_words(code)}).\n{server.last_words()}")

    async def show_job(self, port: int, path: str, max_rate: float | None) -> None:
        """Create the job, start a worker for it, and show it through a WebSocket until it ends."""
        job_id = new_job_id()
        try:
            lifecycle = await ProcessingJobLifecycle.acreate(job_id, name=words(f"Hash of {path}")[:200], public=True)
            await lifecycle.amark_queued("Waiting for a worker")
        except DatabaseError as error:
            raise CommandError(f"The database is not ready ({error}). Run: manage.py migrate") from error
        self.stdout.write(f"Watch it in a browser:  http://{HOST}:{port}/jobs/{job_id}/\n")
        try:
            if max_rate is None:
                max_rate = await asyncio.to_thread(watchable_rate, path)
            limit = [] if max_rate is None else ["--max-rate", str(max_rate)]
            async with child("hash_folder", path, "--job-id", job_id, "--depth", "4", *limit) as worker:
                await self.watch(worker, f"ws://{HOST}:{port}", job_id)
        finally:  # in case the worker was stopped before it could end the job
            with suppress(JobError):
                await lifecycle.amark_cancelled("Stopped", by=Actor.command("showcase"))

    async def watch(self, worker: "Child", url: str, job_id: str) -> None:
        """Show the job until it and its worker have ended."""
        death = asyncio.create_task(self.report_death(worker, job_id))
        try:
            # A server that can no longer be reached is noticed by `require_alive`.
            await show(display_for(self.stdout), url, job_id, wait_for_server=True)
        except WatchError as error:
            self.stderr.write(explain(error, url)[0])
        else:
            # Only now, since the bar owns the screen while the job is shown.
            if words_of_death := await death:
                self.stderr.write(words_of_death)
        finally:
            death.cancel()

    async def report_death(self, worker: "Child", job_id: str) -> str:
        """Wait for the worker's end; if the job has not ended with it, end the job and return what to say."""
        code = await worker.process.wait()
        reason = f"The worker died ({exit_words(code)})"
        try:
            await ProcessingJobLifecycle(job_id).amark_failed(reason)
        except JobError:
            return ""  # the job had ended before its worker did
        return f"{reason}.\n{worker.last_words()}".strip()


class Child:
    """A child process whose output is kept in a file, to be shown if it dies."""

    def __init__(self, process: asyncio.subprocess.Process, output: IO[bytes]) -> None:
        self.process = process
        self.output = output

    def last_words(self) -> str:
        """Return the end of its output."""
        size = self.output.seek(0, os.SEEK_END)
        self.output.seek(max(0, size - LAST_WORDS))
        return self.output.read().decode(errors="replace").strip()

    async def stop(self) -> None:
        """Stop it by SIGTERM, or by SIGKILL after `STOP_SECONDS`."""
        if self.process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGTERM)  # `terminate` would reap the child itself, before asyncio can
        try:
            await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def child(*arguments: str) -> "AsyncIterator[Child]":
    """Run a management command in a process of its own, which is stopped at the end of the block.

    It has a process group of its own, so that Ctrl-C reaches this process only: a child that ends by Ctrl-C while it
    is being stopped would be waited for twice, which asyncio warns of.
    """
    manage = Path(settings.BASE_DIR) / "manage.py"
    with tempfile.TemporaryFile() as output:
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                sys.executable,
                str(manage),
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )
        )
        try:
            yield Child(await asyncio.shield(starting), output)
        finally:  # even if this was cancelled while the process was starting
            await Child(await starting, output).stop()


def watchable_rate(folder: str) -> float | None:
    """Return at how many megabytes a second the job takes `SHOW_SECONDS`; None if the folder is large enough anyway."""
    sizes = list(islice(file_sizes(folder), MAX_LISTED + 1))
    return max(MIN_RATE, sum(sizes) / 1e6 / SHOW_SECONDS) if len(sizes) <= MAX_LISTED else None


def file_sizes(folder: str) -> "Iterator[int]":
    """Yield the bytes of each file below a folder; the worker says what can't be read."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = os.lstat(os.path.join(parent, name))
                if stat.S_ISREG(status.st_mode):
                    yield status.st_size


async def answer(port: int) -> None:
    """Return once something accepts connections at the port."""
    while True:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


def require_free_port(port: int) -> None:
    """Check that the port can be served.

    Raises:
        CommandError: The port is taken, or out of range.

    """
    if not 1 <= port <= 65535:
        raise CommandError(f"--port must be from 1 to 65535, not {port}.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as a server does
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CommandError(
                f"Port {port} can't be used: {error.strerror}. Choose another: make run PORT={port % 65535 + 1}"
            ) from error


def exit_words(code: int) -> str:
    """Return an exit status in words."""
    return f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"

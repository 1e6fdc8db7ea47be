"""The demonstration: a simulated job with several stages, watched through a WebSocket."""

import asyncio
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import connections

from jobs.actors import Actor
from jobs.exceptions import JobError
from jobs.lifecycle import ProcessingJobLifecycle
from progress.client.connection import ConnectionState, Frame, WatchError
from progress.client.terminal import Display, Exit, display_for, explain, show
from progress.management.commands.watch_job import DEFAULT_URL
from progress.management.printing import PrintingCommand

from ...simulation import Plan, run

ACTOR = Actor.command("demo_progress")
STAGES = 4
STEPS = 80


class Starter:
    """A display that starts the job at the first frame, and passes everything on to another display."""

    def __init__(self, display: Display, work: threading.Thread) -> None:
        self.display = display
        self.work = work

    def __enter__(self) -> "Starter":
        self.display.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.display.__exit__(*error)

    def frame_received(self, frame: Frame) -> None:
        """Show the frame; the first one starts the job."""
        self.display.frame_received(frame)
        if self.work.ident is None:
            self.work.start()

    def state_changed(self, state: ConnectionState) -> None:
        """Show that the connection was lost, or made again."""
        self.display.state_changed(state)


class Command(PrintingCommand):
    """Show the whole path: worker, log, server, socket, terminal."""

    help = "Creates a demo job, watches it through the WebSocket, and takes it through several stages meanwhile."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--url", default=DEFAULT_URL, help=f"where the server is (default: {DEFAULT_URL})")
        parser.add_argument("--duration", type=float, default=8.0, help="seconds that the job takes (default: 8)")

    def handle(self, **options: Any) -> None:
        """Create the job, connect, run the job in a thread, and show it."""
        if options["duration"] < 0:
            raise CommandError(f"--duration must be 0 or more, not {options['duration']:g}.")
        lifecycle = ProcessingJobLifecycle.create(name="Demo job", public=True, kind="demo_progress")
        lifecycle.mark_queued()
        self.stdout.write(f"Created demo job {lifecycle.job_id}\nConnecting to {options['url']}")
        stop = threading.Event()
        plan = Plan(STEPS, STAGES, options["duration"] / STEPS)
        work = threading.Thread(target=simulate, args=(lifecycle, plan, stop))
        try:
            self.watch(Starter(display_for(self.stdout), work), options["url"], lifecycle)
        finally:
            stop.set()
            if work.ident is not None:
                work.join()

    def watch(self, display: Display, url: str, lifecycle: ProcessingJobLifecycle) -> None:
        """Show the job to its end.

        Raises:
            CommandError: It can't be watched; the job is cancelled then.
            BrokenPipeError: Nobody reads the output; the job is cancelled then.

        """
        try:
            asyncio.run(show(display, url, lifecycle.job_id))
        except (WatchError, ValueError) as error:
            words, code = explain(error, url)
            if code is Exit.NOT_FOUND:
                words = f"The server at {url} does not know the job: does it use the same database?"
            lifecycle.request_cancel("Nobody could watch", by=ACTOR)
            raise CommandError(words, returncode=code) from error
        except BrokenPipeError:
            lifecycle.request_cancel("Nobody could watch", by=ACTOR)
            raise
        except KeyboardInterrupt:
            lifecycle.request_cancel("Interrupted", by=ACTOR)
            raise SystemExit(Exit.INTERRUPTED) from None
        self.stdout.write("The job has ended. Its page stays at /jobs/" + lifecycle.job_id + "/")


def simulate(lifecycle: ProcessingJobLifecycle, plan: Plan, stop: threading.Event) -> None:
    """Run the job in its thread; somebody else may end it."""
    try:
        run(lifecycle, plan, stop)
    except JobError:
        pass  # the socket shows how the job ended
    finally:
        connections.close_all()

"""An event loop in virtual time: its selector advances the clock instead of sleeping."""

import asyncio
from collections.abc import Coroutine
from typing import Any

MAX_TURNS = 50_000  # of the loop at one moment, after which it counts as a loop without a pause


class Stuck(Exception):
    """Nothing can happen any more, or something happens for ever at one moment."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks in the order of their times; keeps every task, and what the exception handler was told."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[asyncio.Task[Any]] = []
        self.complaints: list[str] = []
        self._now = 0.0
        self._turns = 0
        self._selector = self  # of which the base class wants `select` only
        self._clock_resolution = 1e-9
        self.set_exception_handler(self._note)
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        """Stand in for the selector: there are no sockets, so all that there is to wait for is a time."""
        if timeout is None:
            raise Stuck("everybody waits for ever")
        self._turns += 1
        if timeout > 0:
            self._now = max(self._now, self._scheduled[0].when())
            self._turns = 0
        elif self._turns > MAX_TURNS:
            self._turns = 0
            raise Stuck(f"at {self._now:.3f} something runs for ever without a pause")
        return []

    def unretrieved(self) -> list[asyncio.Task[Any]]:
        """Return the tasks whose exception nobody has taken."""
        return [task for task in self.tasks if task.done() and not task.cancelled() and task._log_traceback]

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass  # there is one thread, and it is awake

    def _make_task(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any) -> Any:
        task = asyncio.Task(work, loop=loop, **options)
        self.tasks.append(task)
        return task

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.complaints.append(f"{context['message']}: {context.get('exception')!r}")

"""What the tests of the publisher share: a layer that can be held up, and a publisher that can be stopped."""

import asyncio
import threading
from contextlib import suppress
from typing import Any

from jobs.events import Event
from jobs.states import EventKind
from progress.broker.publisher import Publisher
from tests.progress.frames import event
from tests.progress.watching import WAIT_SECONDS, ScriptedLayer


class Layer(ScriptedLayer):
    """One that can be held up from another thread, and tells when something was tried."""

    def __init__(self) -> None:
        super().__init__()
        self.tried = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.tried.release()
        while not self.gate.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await super().group_send(group, message)

    def seqs(self, job_id: str = "job-1") -> list[int]:
        messages = [message for group, message in self.sent if group == f"progress.job.{job_id}"]
        return [publication[2] for message in messages for publication in message["events"]]


class Stoppable(Publisher):
    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            super()._run()
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive(), "it does not end when it is cancelled"

    def _cancel(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()


def an_event(seq: int = 1, job_id: str = "job-1", kind: EventKind = EventKind.TICK) -> Event:
    return event(kind, job_id=job_id, seq=seq)


def hold(own: Publisher, layer: Layer) -> None:
    """Let the publisher begin to send something, and keep it there."""
    layer.gate.clear()
    own.put(an_event(0, "other"))
    assert layer.tried.acquire(timeout=WAIT_SECONDS)

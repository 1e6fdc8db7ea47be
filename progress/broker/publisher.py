"""Sends committed events and deletions to other processes, through the channel layer.

The worker's thread only puts an event into a queue. A thread of its own encodes and sends what is there. Its event loop
runs all the time, since a channel layer may have connections and tasks that need that. Whatever goes wrong is logged
and harms no job: every watcher is brought up to date from the log.
"""

import asyncio
import atexit
import logging
import os
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from django.conf import settings

from ..conf import conf
from ..source.vocabulary import LISTED, Event
from . import layers
from .messages import (
    ACCESS_GROUP,
    FEED_GROUP,
    Deletion,
    Publication,
    access_message,
    deletion_message,
    encoded,
    feed_message,
    job_group,
    job_message,
)

logger = logging.getLogger(__name__)

BATCH = 200  # events sent together, so that a burst costs one message a job
GATHER_SECONDS = 0.005  # after a batch, so that a burst fills the next; an event after a pause is sent at once
COMPLAIN_SECONDS = 30.0  # between two warnings that the channel layer fails
LAYER_SEND_SECONDS = 5.0  # after which a send counts as failed

_complained_at = float("-inf")  # that there can be no publisher


def publish(sender: Any, event: Event, **_: Any) -> None:
    """Receive `jobs.signals.job_event_committed`."""
    _put(event)


def publish_deletion(sender: Any, job_id: str, **_: Any) -> None:
    """Receive `jobs.signals.job_deleted`."""
    _put(Deletion(job_id))


def _put(news: Event | Deletion) -> None:
    if (publisher := _publisher()) is not None:
        publisher.put(news)


def tell_access_changed() -> None:
    """Have the servers ask again who may see what."""
    if (publisher := _publisher()) is not None:
        publisher.put_access_changed()


def _publisher() -> "Publisher | None":
    """Return the publisher, if there is a channel layer, and can be a thread: none at a limit, or at the end."""
    global _complained_at
    # The layer itself is looked up in the thread: to import one takes longer than the job should wait.
    if not getattr(settings, "CHANNEL_LAYERS", None):
        return None
    try:
        return Publisher.of_this_process()
    except RuntimeError as error:
        now = time.monotonic()
        if now - _complained_at >= COMPLAIN_SECONDS:
            _complained_at = now
            logger.warning("What is new reaches its watchers later, from the log: %s", error)
        return None


class Publisher:
    """The thread that encodes events and sends them to the channel layer."""

    _current: "Publisher | None" = None
    _making = threading.Lock()

    @classmethod
    def of_this_process(cls) -> "Publisher":
        """Return the publisher of this process; after a fork, the child gets its own."""
        current = cls._current
        if current is not None and current._pid == os.getpid():
            return current
        with cls._making:
            current = cls._current
            if current is None or current._pid != os.getpid():
                current = cls._current = Publisher()
            return current

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._queue: deque[Event | Deletion] = deque()
        self._lock = threading.Lock()  # for the queue: whoever finds it empty wakes the thread
        self._has_access_changed = False  # and no message has said so yet; one says it for any number of changes
        self._dropped = 0  # events, so far
        self._complained_at = float("-inf")
        self._loop = asyncio.new_event_loop()
        self._filled = asyncio.Event()
        self._sending = asyncio.Lock()  # so that events are sent in order, also by those who flush
        self._thread = threading.Thread(target=self._run, name="progress-publisher", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._loop.close()
            raise

    def put(self, news: Event | Deletion) -> None:
        """Have it sent soon. When too many wait, the oldest is dropped: the log has it."""
        with self._lock:
            was_empty = not self._queue
            if len(self._queue) >= conf.PUBLISH_QUEUE:
                self._queue.popleft()
                self._dropped += 1
            self._queue.append(news)
        if was_empty:  # else the thread still has some to send, and will find this one as well
            self._loop.call_soon_threadsafe(self._filled.set)

    def put_access_changed(self) -> None:
        """Have the servers told soon that access has changed."""
        with self._lock:
            is_news, self._has_access_changed = not self._has_access_changed, True
        if is_news:
            self._loop.call_soon_threadsafe(self._filled.set)

    def flush(self) -> None:
        """Wait until what was put has been sent, at most ``PROGRESS_FLUSH_SECONDS``."""
        if self._pid == os.getpid():
            with suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._send_queue(), self._loop).result(conf.FLUSH_SECONDS)

    def _run(self) -> None:
        self._loop.run_until_complete(self._send_forever())

    async def _send_forever(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._has_news:
                # What comes while it is sent fills the next batch, unless that is full already: a message for each
                # event would take the thread that works more time than the work.
                async with self._sending:
                    was_full = await self._send_batch()
                if not was_full:
                    await asyncio.sleep(GATHER_SECONDS)

    async def _send_queue(self) -> None:
        """Send what is in the queue, one batch after another, and wait for what is being sent."""
        async with self._sending:
            while self._has_news:
                await self._send_batch()

    @property
    def _has_news(self) -> bool:
        return bool(self._queue) or self._has_access_changed

    async def _send_batch(self) -> bool:
        """Send up to a batch of what is in the queue; return whether it was a whole one."""
        batch, has_access_changed = self._take()
        try:
            async with asyncio.timeout(LAYER_SEND_SECONDS):
                await self._send(batch, has_access_changed=has_access_changed)
        except (Exception, asyncio.CancelledError) as error:  # a channel layer may raise anything
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # it was this that was cancelled, and not the layer's own work
            self._dropped += len(batch)
            self._complain(error)
        return len(batch) == BATCH

    def _take(self) -> tuple[list[Event | Deletion], bool]:
        """Take up to a batch of events from the queue, and whether access has changed."""
        with self._lock:
            has_access_changed, self._has_access_changed = self._has_access_changed, False
            return [self._queue.popleft() for _ in range(min(len(self._queue), BATCH))], has_access_changed

    async def _send(self, batch: list[Event | Deletion], *, has_access_changed: bool) -> None:
        layer = layers.configured()
        if layer is None:
            return
        by_job: dict[str, list[Publication]] = {}
        for publication in encoded(news for news in batch if isinstance(news, Event)):
            by_job.setdefault(publication.job_id, []).append(publication)
        messages = [(job_group(job_id), job_message(publications)) for job_id, publications in by_job.items()]
        deletions = [news for news in batch if isinstance(news, Deletion)]
        messages += [(job_group(deletion.job_id), deletion_message(deletion)) for deletion in deletions]
        changed = list(dict.fromkeys(news.job_id for news in batch if _is_for_feeds(news)))
        if changed:
            messages.append((FEED_GROUP, feed_message(changed)))
        if has_access_changed:
            messages.append((ACCESS_GROUP, access_message()))
        await _send_all(layer, messages)

    def _complain(self, error: BaseException) -> None:
        now = time.monotonic()
        if now - self._complained_at >= COMPLAIN_SECONDS:
            self._complained_at = now
            logger.warning(
                "The channel layer took no events (%r); %d so far reach their watchers later, from the log.",
                error,
                self._dropped,
            )


def _is_for_feeds(news: Event | Deletion) -> bool:
    return isinstance(news, Deletion) or news.kind in LISTED


async def _send_all(layer: Any, messages: list[tuple[str, dict[str, Any]]]) -> None:
    """Send messages to their groups: in one round trip where the layer can (`progress.broker.redis_layer`)."""
    if hasattr(layer, "group_send_many"):
        await layer.group_send_many(messages)
    else:
        for group, message in messages:
            await layer.group_send(group, message)


def _flush() -> None:
    if Publisher._current is not None:
        Publisher._current.flush()


def _after_fork() -> None:
    # A thread that the child does not have may have held the lock.
    Publisher._making = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
# Before any job begins: what reports at the end of the process is registered later, and so called earlier.
atexit.register(_flush)

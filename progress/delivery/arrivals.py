"""Events that arrive from other threads: each is dispatched in a turn of the event loop, some at a time."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from ..broker.messages import Publication, encoded
from ..source.vocabulary import Event

EVENTS_A_TURN = 128  # some 2 ms of work, before sockets have their turn


class Arrivals:
    """The events that were put and not yet dispatched.

    Args:
        loop: Where they are dispatched.
        dispatch: Gets those that were put before its turn, together and in order.

    """

    def __init__(self, loop: asyncio.AbstractEventLoop, dispatch: Callable[[Sequence[Publication]], None]) -> None:
        self._loop = loop
        self._dispatch = dispatch
        self._queue: deque[Event] = deque()
        self._is_scheduled = False  # `_dispatch_some` is

    def put(self, event: Event) -> None:
        """Have an event dispatched, from any thread; those that are put before the loop's turn go together."""
        self._queue.append(event)
        if not self._is_scheduled and not self._loop.is_closed():
            self._is_scheduled = True
            self._loop.call_soon_threadsafe(self._dispatch_some)

    def _dispatch_some(self) -> None:
        self._is_scheduled = False  # before any is taken: an event that is put later schedules again
        events: list[Event] = []
        while self._queue and len(events) < EVENTS_A_TURN:
            events.append(self._queue.popleft())
        if self._queue:
            self._loop.call_soon(self._dispatch_some)
        self._dispatch(encoded(events))

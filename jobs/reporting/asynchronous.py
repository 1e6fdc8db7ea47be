"""Runs in asynchronous code: their start and end are written in a thread, so that the event loop goes on meanwhile."""

import asyncio
import sys
import weakref
from abc import abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from ..progress_report import report_seconds
from ..threads import in_thread
from .block import Block

T = TypeVar("T")

_kept: set["asyncio.Task[Any]"] = set()  # since an event loop keeps no task alive


class AsyncBlock(Block):
    """A block that may be ``async with``, and what ends one that is never left."""

    @abstractmethod
    def flush(self) -> None:
        """Write now what is not written yet."""

    @abstractmethod
    def advance(self) -> None:
        """Count one more unit as done."""

    async def aflush(self) -> None:
        """Do what `flush` does, without blocking the event loop."""
        await in_thread(self.flush)

    async def __aenter__(self) -> Self:
        self._handled = id(sys.exception())
        waiting: Future[None] = Future()
        try:
            await in_thread(self._begin_for, waiting)
        except asyncio.CancelledError as error:
            if not waiting.cancel():  # it has begun meanwhile
                self._end_later(error)
            raise
        self._enter()
        if not self._run.is_beside:
            self._notes.must_pause = False  # the code itself writes nothing, since it must not wait
            _keep(_write_now_and_then(weakref.ref(self)))
        return self

    def _begin_for(self, waiting: "Future[None]") -> None:
        """Begin, and end at once if nobody waits for that any more."""
        self._begin_run()
        if not waiting.set_running_or_notify_cancel():
            self._end_run(asyncio.CancelledError())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._leave()
        if not self._is_of_this_process:
            return False
        if isinstance(error, GeneratorExit):  # of what may be garbage already, in which nothing can be awaited
            self._end_later(error)
            return False
        return await asyncio.shield(in_thread(self._end_run, error))

    def __del__(self) -> None:
        """End a run whose block is never left: that of a generator whose event loop is closed, say."""
        self.give_up()

    def give_up(self) -> None:
        """End the run, if it has not ended, since nobody goes on with it; nobody waits for that."""
        if self.is_open and self._is_of_this_process:
            self.is_open = False
            self._end_later(left_now())

    def _end_later(self, error: BaseException) -> None:
        """Have the end written where nobody may wait for it."""
        if self._run.is_beside:
            self._thread.call(lambda: self._end_in_report_thread(error))
        elif _is_asynchronous():
            _keep(in_thread(self._end_run, error))
        else:
            self._end_run(error)

    def _end_in_report_thread(self, error: BaseException) -> None:
        self._end_run(error)
        if self._run.is_ending:
            self._thread.add(self._run)  # once more, as it is not there if the process is about to end

    def atrack(self, items: AsyncIterable[T] | Iterable[T]) -> AsyncIterator[T]:
        """Yield the items of an ``async for``, and count each as done once the next is asked for."""
        return _Counted(items, self)


class _Counted(AsyncIterator[T]):
    """Items, counted. No generator: one that is left early lives on until its event loop closes it."""

    def __init__(self, items: AsyncIterable[T] | Iterable[T], block: AsyncBlock) -> None:
        self._block = block
        self._items = aiter(items) if isinstance(items, AsyncIterable) else iter(items)
        self._is_first = True

    async def __anext__(self) -> T:
        if not self._is_first:
            self._block.advance()
        self._is_first = False
        if isinstance(self._items, AsyncIterator):
            return await anext(self._items)
        for item in self._items:
            return item
        raise StopAsyncIteration


class AsyncLoop(AsyncIterator[T], Generic[T]):
    """The items of a loop that is a run of a job.

    Args:
        items: What to yield.
        block: Of the run, made for this loop.

    """

    def __init__(self, items: AsyncIterable[T] | Iterable[T], block: AsyncBlock) -> None:
        self._block = block
        self._items = block.atrack(items)
        self._has_begun = False

    async def __anext__(self) -> T:
        if not self._has_begun:
            self._has_begun = True
            await self._block.__aenter__()
        if not self._block.is_open:
            raise StopAsyncIteration
        try:
            return await anext(self._items)
        except StopAsyncIteration:
            await self._block.__aexit__(None, None, None)
            raise
        except BaseException as error:
            if not await self._block.__aexit__(type(error), error, error.__traceback__):
                raise
            raise StopAsyncIteration from None

    def __del__(self) -> None:
        """End a loop that is left. Here, since a thread may hold the block for a moment yet."""
        self._block.give_up()

    async def aclose(self) -> None:
        """Leave the loop before its end, as `contextlib.aclosing` does."""
        if self._block.is_open:
            self._block._leave()
            await asyncio.shield(in_thread(self._block._end_run, left_now()))


async def _write_now_and_then(block_of: "weakref.ref[AsyncBlock]") -> None:
    """Do what the report thread can't: write in the thread that has a transaction open."""
    while (block := block_of()) is not None and block.is_open:
        write = block._run.write_beside
        del block
        await in_thread(write)
        await asyncio.sleep(report_seconds())


def _keep(work: Coroutine[Any, Any, Any]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    _kept.add(task)
    task.add_done_callback(_kept.discard)


def left_now() -> BaseException:
    """Return by what a block is left of which nothing else is known."""
    if _is_asynchronous() and (task := asyncio.current_task()) is not None and task.cancelling():
        return asyncio.CancelledError()
    left = GeneratorExit()
    left.__context__ = sys.exception()
    return left


def _is_asynchronous() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

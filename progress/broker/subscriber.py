"""Receives other processes' events: one channel of the layer, which joins the groups of what is watched here."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from ..conf import conf

logger = logging.getLogger(__name__)

LAYER_RETRY_SECONDS = 1.0  # between two tries to reach a channel layer that does not answer
ANSWER_SECONDS = 2.0  # after which it counts as not answering
ECHO = "progress.echo"  # the message that a subscriber sends to itself, to see whether the layer works


class Subscriber:
    """Joins and leaves groups, and receives what is sent to them. The channel layer may lose any message.

    Args:
        layer: The channel layer.
        deliver: Called with each message.
        on_trouble: Called when the layer turns out not to work.

    """

    def __init__(self, layer: Any, deliver: Callable[[dict[str, Any]], None], on_trouble: Callable[[], None]) -> None:
        self._layer = layer
        self._deliver = deliver
        self._channel: str | None = None
        self._wanted: dict[str, None] = {}  # groups
        self._joined: dict[str, None] = {}
        self._unsure: dict[str, None] = {}  # groups that were to be joined or left, without an answer
        self._failing = False  # the layer did not answer: the rest is settled later
        self._in_trouble = False  # the layer has failed, and that was logged
        self._is_stopping = False
        self._lock = asyncio.Lock()
        self._on_trouble = on_trouble
        self._echo = asyncio.Event()
        self._answers = False  # the last echo came back
        self._opening = asyncio.Lock()
        self._running = asyncio.ensure_future(self._run())
        self._probing: asyncio.Future[None] | None = None  # while there is a channel
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def is_healthy(self) -> bool:
        """Whether every wanted group has been joined, and the layer delivers messages."""
        return self._answers and self._wanted.keys() <= self._joined.keys()

    def stop(self) -> asyncio.Task[None]:
        """Leave all groups and give the channel back, in the task that is returned."""
        self._is_stopping = True
        self._wanted.clear()
        self._stop_probing()
        return asyncio.ensure_future(self._stop())

    async def _stop(self) -> None:
        try:
            async with self._opening:  # the name of a channel that is being made is known only after that
                await self.settle()
            while self._joined or self._unsure:  # the layer does not answer, and keeps them until they are left
                await asyncio.sleep(LAYER_RETRY_SECONDS)
                await self.settle()
        finally:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    async def join(self, group: str) -> None:
        """Join a group: now if the channel layer answers, otherwise once it does."""
        if self._is_stopping:
            return
        self._wanted[group] = None
        await self._settle(group)

    def has_joined(self, group: str) -> bool:
        """Return whether a group was joined, and stays so."""
        return group in self._wanted and group in self._joined and group not in self._unsure

    def leave(self, group: str) -> None:
        """Leave a group soon."""
        self._wanted.pop(group, None)
        if group not in self._joined and group not in self._unsure:
            return
        task = asyncio.ensure_future(self._settle(group))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def settle(self) -> None:
        """Join the groups that are wanted and leave the others, as far as the layer answers."""
        self._failing = False
        for group in self._wanted | self._joined | self._unsure:
            await self._settle(group)
            if self._failing:
                break

    async def _settle(self, group: str) -> None:
        async with self._lock:  # in order, so that the last call of join or leave wins
            wanted, channel = group in self._wanted, self._channel
            is_settled = wanted == (group in self._joined) and group not in self._unsure
            if channel is None or self._failing or is_settled:
                return
            was_unsure = group in self._unsure
            self._unsure[group] = None
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    if wanted or was_unsure:  # a layer that failed as it left may believe that it has left
                        await self._layer.group_add(group, channel)
                    if not wanted:
                        await self._layer.group_discard(group, channel)
            except Exception as error:  # a channel layer may raise anything
                self._complain(error)
                self._failing = True
                return
            if channel != self._channel:
                return  # there is another channel by now, for which all is settled anew
            self._in_trouble = False
            del self._unsure[group]
            if wanted:
                self._joined[group] = None
            else:
                self._joined.pop(group, None)

    async def _run(self) -> None:
        while True:
            try:
                async with self._opening, asyncio.timeout(ANSWER_SECONDS):
                    self._channel = await self._layer.new_channel()
                self._probing = asyncio.ensure_future(self._probe())
                while True:
                    self._take(await self._layer.receive(self._channel))
            except asyncio.CancelledError:
                await self._give_back(is_forgotten=True)
                raise
            except Exception as error:
                self._complain(error)
                await self._give_back(is_forgotten=False)
            await asyncio.sleep(LAYER_RETRY_SECONDS)

    async def _give_back(self, *, is_forgotten: bool) -> None:
        """Leave all groups, and have the layer forget the channel: it does so when a ``receive`` is cancelled."""
        self._stop_probing()
        channel, groups = self._channel, self._joined | self._unsure
        self._channel, self._answers = None, False
        self._joined.clear()
        self._unsure.clear()
        if channel is None:
            return
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                for group in groups:
                    with contextlib.suppress(Exception):  # the others can perhaps be left
                        await self._layer.group_discard(group, channel)
                while not is_forgotten:
                    receiving = asyncio.ensure_future(self._layer.receive(channel))
                    await asyncio.sleep(0)
                    # If it is done already, it had a message, and can't be cancelled.
                    is_forgotten = not receiving.done() or receiving.exception() is not None
                    receiving.cancel()
                    await asyncio.gather(receiving, return_exceptions=True)
        except Exception as error:
            self._complain(error)

    def _take(self, message: dict[str, Any]) -> None:
        self._in_trouble = False
        try:
            if message.get("type") == ECHO:
                self._echo.set()
            else:
                self._deliver(message)
        except Exception:  # a message of another version, say; what it said is read from the log
            logger.exception("A message of the channel layer can't be understood: %.200r", message)

    async def _probe(self) -> None:
        """Check regularly that the layer delivers a message, since one that has lost its server does not say so."""
        while True:
            await self.settle()
            self._answers = await self._brings_an_echo()
            if not self._answers:
                self._on_trouble()
            await asyncio.sleep(conf.SYNC_SECONDS if self.is_healthy else LAYER_RETRY_SECONDS)

    def _stop_probing(self) -> None:
        if self._probing is not None:
            self._probing.cancel()

    async def _brings_an_echo(self) -> bool:
        self._echo.clear()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._layer.send(self._channel, {"type": ECHO})
                await self._echo.wait()
        except Exception as error:
            self._complain(error)
            return False
        return True

    def _complain(self, error: Exception) -> None:
        """Log that the channel layer fails: once, until it has answered again."""
        if not self._in_trouble:
            self._in_trouble = True
            logger.warning("The channel layer does not answer (%r); events are read from the log.", error)

"""Sending over a WebSocket by ASGI ``send``, which suspends while the socket takes no more."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from ..delivery.chunks import Chunk
from ..delivery.connection import FlowControl, Sender
from ..protocol.codes import CloseCode
from ..protocol.frames import Frame

logger = logging.getLogger(__name__)

SENDER = "progress.sender"  # the key in scope["extensions"] under which a server may give a `Sender` of its own
Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]

IS_EAGER = sys.version_info >= (3, 12)  # Python can run a new task at once, up to its first wait


def sender_of(scope: dict[str, Any], send: Send) -> Sender:
    """Return the sender for a socket: the server's own if it has one, else one that uses ``send``."""
    sender: Sender | None = scope.get("extensions", {}).get(SENDER)
    return AsgiSender(send) if sender is None else sender


class AsgiSender:
    """Sends one message after another, in a task; while a send is suspended, it pauses the writing.

    Args:
        send: The ASGI ``send`` of the socket.

    """

    __slots__ = (
        "_code",
        "_idle",
        "_is_aborted",
        "_is_busy",
        "_is_closing",
        "_is_working",
        "_send",
        "_task",
        "_waiting",
        "flow",
    )

    def __init__(self, send: Send) -> None:
        self.flow: FlowControl | None = None
        self._send = send
        self._waiting: list[Message] = []  # an empty deque takes 0.6 KiB
        self._code: CloseCode | None = None  # to close with, after what waits
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None  # what the task waits for while there is nothing to send
        self._is_working = False  # the task runs; `_task` is not set yet while an eager task takes its first step
        self._is_busy = False  # a frame is being sent
        self._is_closing = False  # the close is being sent
        self._is_aborted = False  # what was being sent was cancelled by us

    @property
    def is_writable(self) -> bool:
        """Whether nothing waits and nothing is being sent."""
        return not (self._is_busy or self._waiting)

    def write(self, chunk: Chunk) -> None:
        """Send frames, in order."""
        self._put(self._messages(chunk))

    def close(self, code: CloseCode) -> None:
        """Close after what was written."""
        self._code = code
        self._start()

    def abort(self, code: CloseCode) -> None:
        """Drop what waits and cancel the send that is stuck, then close; do nothing if the close itself is stuck."""
        if self._is_closing:
            return
        self._waiting.clear()
        self._code = code
        if self._is_busy and self._task is not None and self._task is not asyncio.current_task():
            self._is_aborted = True
            self._task.cancel()
        else:
            self._start()

    def stop(self) -> None:
        """Send nothing more, and make no more calls to `flow`."""
        self.flow = self._code = None
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    # What a WebSocket sends; another transport sends other messages

    def _messages(self, chunk: Chunk) -> list[Message]:
        return chunk.encoded(websocket_messages)

    def _closing(self, code: CloseCode) -> Message:
        return {"type": "websocket.close", "code": int(code)}

    # The task

    def _put(self, messages: list[Message]) -> None:
        self._waiting.extend(messages)
        self._start()

    def _start(self) -> None:
        """Wake the task, or start one, unless it is sending already."""
        if self._idle is not None:
            if not self._idle.done():
                self._idle.set_result(None)
        elif not self._is_working or (self._task is not None and self._task.done()):  # cancelled before its first step
            self._is_working = True
            task = _started(self._run())
            if not task.done():
                self._task = task
                if self.flow is None:  # stopped in the task's first step, which then waited for something
                    task.cancel()

    async def _run(self) -> None:
        """Send what waits. Where tasks can't start eagerly, this one stays for later frames: a new one costs more."""
        try:
            await self._send_waiting()
            while self.flow is not None and self._code is None and not IS_EAGER:
                self._idle = asyncio.get_running_loop().create_future()
                await self._idle
                self._idle = None
                await self._send_waiting()
            if self._code is not None:
                await self._send_close(self._code)
        except asyncio.CancelledError:
            if self.flow is not None:  # not cancelled by `stop`: the server is shutting down
                self._task = None
                self.flow.lost()
            raise
        finally:
            self._task = self._idle = None
            self._is_working = self._is_busy = False

    async def _send_waiting(self) -> None:
        while self._waiting and self.flow is not None:
            message = self._waiting.pop(0)
            self._is_busy = True
            self.flow.pause_writing()
            try:
                await self._send(message)
            except asyncio.CancelledError:
                if not self._is_aborted:
                    raise
            except Exception as error:
                logger.debug("A message was refused: %r", error)
                self._waiting.clear()
                if self.flow is not None:
                    self.flow.refused()
            self._is_busy = False
            if not self._waiting and self.flow is not None:
                self.flow.resume_writing()

    async def _send_close(self, code: CloseCode) -> None:
        self._is_closing = True
        try:
            await self._send(self._closing(code))
        except Exception as error:
            logger.debug("A socket can't be closed: %r", error)


def websocket_messages(frames: Sequence[Frame]) -> list[Message]:
    """Return the ASGI messages that send frames over a WebSocket, the same for everybody."""
    return [{"type": "websocket.send", "text": frame.text} for frame in frames]


def _started(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Return a task; where Python can start it eagerly, it has already run up to its first wait."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)

"""The server's end of a socket: what the consumer is given, and a client that may stop to read or be gone."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

from progress.conf import conf
from progress.protocol.codes import CloseCode

if TYPE_CHECKING:
    from progress.delivery.chunks import Chunk
    from progress.delivery.connection import FlowControl
    from tests.simulation.clients import Client
    from tests.simulation.views import Request

GONE = 1006
FRAME_BYTES = 190  # of an event, or an entry of a feed, at most


class Socket:
    """A socket whose frames are sent by ASGI ``send``, which waits while the client does not read.

    Args:
        habit: What else `send` does: "waits" suspends each time, "slow" does so for long, "times" does so under
            `asyncio.timeout`.

    """

    writer: "FrameWriter | None" = None

    def __init__(self, client: "Client", habit: str) -> None:
        self.client = client
        self.habit = habit
        self._pace = client.chance.choice((0.02, 0.03, 0.06)) if habit == "slow" else None  # seconds that a send takes
        self.is_open = True  # neither closed by the server nor cut
        self.is_accepted = False
        self.code: int | None = None  # that the server closed it with
        self.failure = ""  # `send` raises: "once" or "for good"
        self.fails_after = 0  # so many messages
        self.was_behind = habit != ""  # ticks may have been superseded
        self.stuck_at = 0.0  # when it was given what it has no room for
        self._reads = asyncio.Event()
        self._reads.set()
        self._inbox: asyncio.Queue[tuple[dict[str, Any], Request | None]] = asyncio.Queue()
        self.put({"type": "websocket.connect"})

    @property
    def is_reading(self) -> bool:
        return self._reads.is_set()

    # What the server calls

    async def receive(self) -> dict[str, Any]:
        message, _ = await self._inbox.get()
        return message

    async def send(self, message: dict[str, Any]) -> None:
        self.judge(message)
        self.stuck_at = self.client.world.loop.time()
        if self.habit == "times":
            async with asyncio.timeout(60):
                await self._pass()
        else:
            await self._pass()
        if self.failure and not self.fails_after:
            self._fail(message["type"])
        self.fails_after = max(0, self.fails_after - 1)
        self.deliver(message)

    def _fail(self, kind: str) -> None:
        self.client.tell(f"can't be sent a {kind} ({self.failure})")
        if self.failure == "for good" or kind != "websocket.send":
            self.client.lose(self)
        self.failure = self.failure.replace("once", "")
        raise ConnectionError("the socket is broken")

    async def _pass(self) -> None:
        if self.habit:
            await asyncio.sleep(self._pace or self.client.chance.choice((0, 0, 0.001, 0.02)))
        if not self.is_reading:
            self.was_behind = True
            await self._reads.wait()

    # What happens to it

    def put(self, message: dict[str, Any], request: "Request | None" = None) -> None:
        """Let the server receive a message."""
        self._inbox.put_nowait((message, request))

    def pause(self) -> None:
        self._reads.clear()

    def go_on(self) -> None:
        self._reads.set()

    def cut(self, code: int = GONE) -> None:
        """Lose the line: the server hears of it."""
        self.is_open = False
        self.go_on()
        self.put({"type": "websocket.disconnect", "code": code})

    def deliver(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "websocket.accept":
                self.is_accepted = True
            case "websocket.close":
                self.client.claim(self.code is None, "closed twice")
                self.code = message.get("code", 1000)
                if self.is_open:
                    self.client.closed(self, self.code)
                    self.cut(self.code)
            case "websocket.send":
                frame = json.loads(message["text"])
                self.client.claim(self.code is None, f"a {frame['type']} was sent behind the close")
                if self.is_open:
                    self.client.take(self, frame)

    def judge(self, message: dict[str, Any]) -> None:
        """Claim that there is a reason, if this cuts it off."""
        if message.get("code") != CloseCode.TOO_SLOW:
            return
        world = self.client.world
        # A burst that came in one turn of the loop, before the first send was seen to wait, is kept whole.
        waiting = sum(view.waiting(ticks=self.writer is None) for view in self.client.views.values())
        can_wait = FRAME_BYTES * (waiting + len(self.client.views) + 2)  # a tick of each, a heartbeat, a pong
        is_stuck = world.loop.time() - self.stuck_at >= conf.SEND_SECONDS - 0.001
        is_slow = is_stuck or can_wait > conf.OUTBOX_BYTES or self.client.is_asking or bool(self.client.feeds)
        self.client.claim(is_slow, "cut off, though little waits")


class FrameWriter:
    """The sender that `manage.py serve` offers beside ``send``: it says when it is full.

    Args:
        pace: Seconds in which what it holds is read; 0 reads at once.

    """

    def __init__(self, socket: Socket, capacity: int, pace: float) -> None:
        self.flow: FlowControl | None = None
        self.socket = socket
        self.is_writable = True
        self._capacity, self._pace = capacity, pace
        self._held: list[dict[str, Any]] = []
        self._size = 0
        self._is_closing = False
        self._reading: asyncio.TimerHandle | None = None

    def write(self, chunk: "Chunk") -> None:
        socket = self.socket
        socket.client.claim(not self._is_closing, "written behind the close")
        socket.client.claim(self.is_writable, "written while the socket is full")
        socket.stuck_at = socket.client.world.loop.time()
        self._size += sum(len(frame.payload) for frame in chunk.frames)
        self._hold([{"type": "websocket.send", "text": frame.text} for frame in chunk.frames])
        self.is_writable = self._size <= self._capacity
        socket.was_behind |= not self.is_writable or self._pace > 0
        if not self.is_writable and self.flow is not None:
            self.flow.pause_writing()

    def close(self, code: CloseCode) -> None:
        message = {"type": "websocket.close", "code": int(code)}
        self.socket.judge(message)
        self._hold([message])

    abort = close

    def stop(self) -> None:
        self.flow = None

    def _hold(self, messages: list[dict[str, Any]]) -> None:
        """Take messages in, behind those that are not read yet."""
        self._is_closing |= messages[0]["type"] == "websocket.close"
        self._held += messages
        if self.socket.is_reading and not self._pace:
            self._read()
        elif self.socket.is_reading and self._reading is None:
            self._reading = self.socket.client.world.loop.call_later(self._pace, self.go_on)

    def go_on(self) -> None:
        """Let all be read; the one who filled it may go on."""
        self._reading = None
        if self.socket.is_reading and self.socket.is_open:
            self._read()
            was_writable, self.is_writable = self.is_writable, True
            if not was_writable and self.flow is not None:
                self.flow.resume_writing()

    def _read(self) -> None:
        held, self._held, self._size = self._held, [], 0
        for message in held:
            self.socket.deliver(message)


class WritingSocket(Socket):
    """A socket with a frame writer."""

    def __init__(self, client: "Client", habit: str) -> None:
        super().__init__(client, "")
        chance = client.chance
        is_slow = habit == "slow writer"
        capacity, pace = (200, chance.choice((0.02, 0.04))) if is_slow else (chance.choice((200, 2_000)), 0.0)
        self.writer = FrameWriter(self, capacity, pace)

    async def send(self, message: dict[str, Any]) -> None:
        self.deliver(message)  # the accept, and a close before it: all else goes by the writer

    def go_on(self) -> None:
        super().go_on()
        self.writer.go_on()

"""One watcher of the load client: it counts a frame only if it is, byte by byte, the one that comes next."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

from picows import WSFrame, WSListener, WSMsgType, WSTransport

if TYPE_CHECKING:
    from benchmarks.load import Load


class Watcher(WSListener):
    """One socket: what it expects next, and what went wrong."""

    def __init__(self, load: "Load", number: int) -> None:
        self.load = load
        self.number = number
        self.texts = load.texts  # what is known to be right, by seq
        self.next = load.base + 1
        self.last = load.base + load.events
        self.resumes = load.plan.get("resumes", False)
        self.got = self.lost = self.disorder = 0
        self.final: dict[str, Any] | None = None
        self.close_code: int | None = None
        self.transport: WSTransport | None = None
        self.is_stalled = self.is_gone = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Count a frame if it is, byte by byte, the one that comes next."""
        data = frame.get_payload_as_bytes()
        seq = self.next
        if data != self.texts.get(seq):
            self.examine(frame, data)
            return
        self.next = seq + 1
        self.got += 1
        if self.load.stamping:
            self.load.stamp(self, seq)
        if seq == self.last and not self.resumes:
            self.load.one_finished()

    def examine(self, frame: WSFrame, data: bytes) -> None:
        """Deal with any frame but the expected bytes."""
        if frame.msg_type is WSMsgType.CLOSE:
            self.close_code = int.from_bytes(data[:2], "big")
            return
        if frame.msg_type is not WSMsgType.TEXT:
            return
        fields = json.loads(data)
        if fields.get("type") == "snapshot":
            self.take_snapshot(fields)
        elif fields.get("type") == "progress":
            self.take_event(fields, data)
        elif fields.get("type") == "error":
            self.load.problems[f"error frame: {fields['code']}"] += 1

    def take_snapshot(self, fields: dict[str, Any]) -> None:
        """Stand where the server says; a recovery must have been whole."""
        seq = fields["seq"]
        self.final = fields
        if self.resumes:
            if not fields["recovered"] or seq != self.last or self.next != seq + 1:
                self.load.problems["a recovery that is not whole"] += 1
            self.load.one_finished()
            return
        self.next, self.last = seq + 1, seq + self.load.events
        self.load.one_ready()

    def take_event(self, fields: dict[str, Any], data: bytes) -> None:
        """Check an event that nobody has checked before, and learn its bytes."""
        seq = fields["seq"]
        if seq < self.next:
            self.disorder += 1
            return
        if not self.load.is_right(fields, data, self.number):
            self.load.problems["an event with wrong content"] += 1
        if self.load.shares:
            self.texts[seq] = data
        self.lost += seq - self.next
        self.next = seq + 1
        self.got += 1
        self.final = fields
        if self.load.stamping:
            self.load.stamp(self, seq)
        if seq == self.last and not self.resumes:
            self.load.one_finished()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Note a socket that the server gave up."""
        self.is_gone = True
        if not self.load.is_closing and not self.is_stalled:
            self.load.problems[f"closed by the server ({self.close_code or 'no code'})"] += 1


class Control(WSListener):
    """The socket that tells the server to send; its one message is the report."""

    def __init__(self) -> None:
        self.report: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take the report."""
        if frame.msg_type is WSMsgType.TEXT:
            self.report.set_result(json.loads(frame.get_payload_as_bytes()))

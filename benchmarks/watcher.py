"""One watcher of the load client: it counts an event only if it is, byte by byte, the one that comes next.

What a server sends is the same bytes for every watcher of a job. So the first watcher that gets an event has it
parsed and checked, and its frame is appended to what all others must get; their reads, of however many
frames, are then compared with that in one go (`Known`).
"""

import json
import socket
import time
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from benchmarks import websocket

if TYPE_CHECKING:
    from benchmarks.load import Load

READ_BYTES = 65_536


class Known:
    """The frames that are known to be right, in order, as one piece.

    Args:
        base: The seq before the first.

    """

    def __init__(self, base: int) -> None:
        self.base = base
        self.data = bytearray()
        self._begins = [0]  # of each frame, and of the one that comes next

    def append(self, seq: int, frame: bytes) -> None:
        """Take in a frame, if it is the next."""
        if seq == self.base + len(self._begins):
            self.data += frame
            self._begins.append(len(self.data))

    def at(self, seq: int) -> int:
        """Return where the frame of an event begins; -1 if that can't be said."""
        number = seq - self.base - 1
        return self._begins[number] if 0 <= number < len(self._begins) else -1

    def frame(self, seq: int) -> bytes | None:
        """Return the frame of an event, if it is known."""
        end = self.at(seq + 1)
        return None if end < 0 else bytes(self.data[self.at(seq) : end])

    def seq_at(self, place: int) -> int:
        """Return the event whose frame holds, or begins at, this place."""
        return self.base + bisect_right(self._begins, place)


class Watcher:
    """One socket: what it expects next, and what went wrong."""

    def __init__(self, load: "Load", number: int, connection: socket.socket) -> None:
        self.load = load
        self.number = number
        self.socket = connection
        self.recv = connection.recv
        self.known = load.known if load.shares else Known(load.base)
        self.first = load.base + 1
        self.last = load.base + load.events
        self.resumes: bool = load.plan.get("resumes", False)
        self.lost = self.disorder = 0
        self.final: dict[str, Any] | None = None
        self.close_code: int | None = None
        self.is_stalled = self.is_gone = self.is_finished = False
        self._at = self.known.at(self.first)  # how far it is in what is known, -1 if not within it
        self._next = self.first  # the event that it expects, while it is not within what is known
        self._rest = b""  # read, but not dealt with: the beginning of a frame

    @property
    def next(self) -> int:
        """The event that is expected next."""
        return self._next if self._at < 0 else self.known.seq_at(self._at)

    @property
    def got(self) -> int:
        """How many events have come."""
        return self.next - self.first - self.lost

    def read(self) -> None:
        """Take what the socket has."""
        try:
            data = self.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        at = self._at
        if at >= 0 and data and self.known.data.startswith(data, at):
            if self.load.stamping:
                self._stamp(at, at + len(data))
            self._at = at + len(data)
            if self._at >= self.load.goal:
                self._finish()
        elif data:
            self.take(data)
        else:
            self._lose()

    def take(self, data: bytes) -> None:
        """Go through bytes frame by frame."""
        if self._at >= 0:  # begin where the frame begins
            begin = self.known.at(self.next)
            self._rest = bytes(self.known.data[begin : self._at])
            self._next, self._at = self.next, -1
        data, done = self._rest + data, 0
        for opcode, begin, end in websocket.frames(data):
            self._take_frame(opcode, data[begin:end], data[done:end])
            done = end
        self._rest = data[done:]
        if not self._rest and self.load.shares:
            self._at = self.known.at(self._next)
        if self._next > self.last and not self.resumes:
            self._finish()

    def _take_frame(self, opcode: int, payload: bytes, frame: bytes) -> None:
        if opcode == websocket.PING:
            self._answer(websocket.PONG, payload)
        elif opcode == websocket.CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big")
            self._answer(websocket.CLOSE, payload[:2])
        elif opcode == websocket.TEXT:
            if frame == self.known.frame(self._next):
                self._count(self._next)
            else:
                self._examine(json.loads(payload), frame, payload)

    def _examine(self, fields: dict[str, Any], frame: bytes, payload: bytes) -> None:
        """Deal with a message that nobody has checked before."""
        match fields.get("type"):
            case "snapshot":
                self._take_snapshot(fields)
            case "progress":
                self._take_event(fields, frame, payload)
            case "error":
                self.load.problems[f"error frame: {fields['code']}"] += 1

    def _take_snapshot(self, fields: dict[str, Any]) -> None:
        """Stand where the server says; a recovery must have been whole."""
        seq = fields["seq"]
        self.final = fields
        if self.resumes:
            if not fields["recovered"] or seq != self.last or self._next != seq + 1:
                self.load.problems["a recovery that is not whole"] += 1
            self._finish()
            return
        if not self.known.data:
            self.known.base = seq
        self.first = self._next = seq + 1
        self.last = seq + self.load.events
        self.load.one_ready()

    def _take_event(self, fields: dict[str, Any], frame: bytes, payload: bytes) -> None:
        """Check an event, and learn its bytes."""
        seq = fields["seq"]
        if seq < self._next:
            self.disorder += 1
            return
        known = self.known.frame(seq)
        if known is not None and known != frame:
            self.load.problems["an event in other bytes than another watcher got"] += 1
        elif known is None and not self.load.is_right(fields, payload, self.number):
            self.load.problems["an event with wrong content"] += 1
        self.final = fields
        self.lost += seq - self._next
        if self.load.shares:
            self.known.append(seq, frame)
            if seq == self.last and self.known.frame(seq):
                self.load.goal = len(self.known.data)
        self._count(seq)

    def _count(self, seq: int) -> None:
        self._next = seq + 1
        if self.load.stamping:
            self.load.stamp(self, seq, time.monotonic())

    def _stamp(self, begin: int, end: int) -> None:
        """Note when the events came that end between two places."""
        now = time.monotonic()
        for seq in range(self.known.seq_at(begin), self.known.seq_at(end)):
            self.load.stamp(self, seq, now)

    def _finish(self) -> None:
        if not self.is_finished:
            self.is_finished = True
            self.load.one_finished()

    def _answer(self, opcode: int, payload: bytes) -> None:
        try:
            self.socket.send(websocket.control_frame(opcode, payload))
        except OSError:
            self._lose()

    def _lose(self) -> None:
        """Note a socket that the server gave up."""
        if self.is_gone:
            return
        self.is_gone = True
        self.load.forget(self)
        if not self.is_stalled:
            self.load.problems[f"closed by the server ({self.close_code or 'no code'})"] += 1

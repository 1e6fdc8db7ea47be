"""One watcher of the load client: it counts an event only if it is, byte by byte, the one that comes next.

What a server sends is the same bytes for every watcher of a job. So the first watcher that gets an event has it
parsed and checked, and its frame is appended to what all others must get; their reads, of however many
frames, are then compared with that in one go (`benchmarks.known`).
"""

import json
import socket
import time
from typing import Any

from benchmarks import expected, payload, websocket
from benchmarks.tally import Tally
from benchmarks.websocket import READ_BYTES


class Watcher:
    """One socket: what it expects next, and what went wrong.

    Args:
        tally: What all watchers have seen.
        number: Which of them this is.
        connection: The socket, behind the handshake.
        job: The id of the job that it watches.

    """

    def __init__(self, tally: Tally, number: int, connection: socket.socket, job: str = payload.JOB) -> None:
        self.tally = tally
        self.number = number
        self.socket = connection
        self.recv = connection.recv
        self.job = job
        self.known = tally.known_of(job)
        self.first = tally.base + 1
        self.last = tally.base + tally.events
        self.resumes: bool = tally.plan.get("resumes", False)
        self.lost = self.disorder = 0
        self.close_code: int | None = None
        self.is_stalled = self.is_gone = self.is_ended = self.is_finished = self.has_snapshot = False
        self._is_placed = self.resumes or not tally.plan.get("snapshots")  # whether it knows which event is the first
        self._at = self.known.at(self.first) if self._is_placed else -1  # how far in what is known, -1 if not within it
        self._next = self.first  # the event that it expects, while it is not within what is known
        self._rest = b""  # read, but not dealt with: the beginning of a frame
        self._woke_at = 0  # the event that it expected when it was let go on

    @property
    def next(self) -> int:
        """The event that is expected next."""
        return self._next if self._at < 0 else self.known.seq_at(self._at)

    @property
    def got(self) -> int:
        """How many events have come."""
        return self.next - self.first - self.lost

    @property
    def missing(self) -> int:
        """How many events have not come."""
        return self.lost + self.last + 1 - self.next

    @property
    def has_more(self) -> bool:
        """Whether part of a frame has come behind the last event."""
        return self.next > self.last and bool(self._rest)

    @property
    def end(self) -> str:
        """How one that was slow ended, or nothing if it has not.

        Cut off is as good as closed, since its client resumes from its position; but not if all that came is an error
        of our own socket.
        """
        if self.next > self.last:
            return "caught up"
        if self.close_code is not None:
            return f"closed {self.close_code}"
        return "cut off" if self.is_ended or (self.is_gone and self.next > self._woke_at) else ""

    def wake(self) -> None:
        """Note where it stands when it goes on reading."""
        self._woke_at = self.next

    def read(self) -> None:
        """Take what the socket has."""
        try:
            data = self.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._lose()
            return
        at = self._at
        if at >= 0 and data and self.known.data.startswith(data, at):
            if self.tally.stamping:
                self._stamp(at, at + len(data))
            self._at = at + len(data)
            if self._at >= self.known.goal:
                self._finish()
        elif data:
            self.take(data)
        else:
            self.is_ended = True
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
        if self._is_placed and not self._rest:
            self._at = self.known.at(self._next)
        if self._next > self.last and not self.resumes:
            self._finish()

    def _take_frame(self, opcode: int, payload: bytes, frame: bytes) -> None:
        if frame == self.known.frame(self._next):
            self._count(self._next)
        elif fault := websocket.fault(frame):
            self._complain(f"a frame {fault}")
        elif opcode == websocket.PING:
            self.tally.reads -= 1
            self._answer(websocket.PONG, payload)
        elif opcode == websocket.CLOSE:
            self.tally.reads -= 1
            self.close_code = int.from_bytes(payload[:2], "big")
            self._answer(websocket.CLOSE, payload[:2])
            self._lose()
        else:
            self._examine(_parsed(payload), frame, payload)

    def _examine(self, fields: dict[str, Any], frame: bytes, payload: bytes) -> None:
        """Deal with a message that nobody has checked before."""
        match fields:
            case {"type": "snapshot", "seq": int()}:
                self._take_snapshot(fields, frame)
            case {"type": "progress", "seq": int()}:
                self._take_event(fields, frame, payload)
            case {"type": "error"}:
                self._complain(f"error frame: {fields.get('code')}")
            case {"type": "heartbeat"}:
                self.tally.reads -= 1
            case _:
                self._complain(f"an unknown message: {fields.get('type')}")

    def _take_snapshot(self, fields: dict[str, Any], frame: bytes) -> None:
        """Stand where the server says."""
        fault = self._fault_of(fields, frame)
        if fault:
            self._complain(fault)
        if self.has_snapshot or not self.tally.plan.get("snapshots"):
            return
        self.has_snapshot = self._is_placed = True
        self.known.snapshot = self.known.snapshot or frame
        if self.resumes:
            self._finish()
            return
        if not self.known.data:
            self.known.base = fields["seq"]
        self.first = self._next = fields["seq"] + 1
        self.last = fields["seq"] + self.tally.events
        self.tally.one_ready()

    def _fault_of(self, fields: dict[str, Any], frame: bytes) -> str:
        """Say what is wrong with a snapshot: one comes, before all events, but in a recovery behind them."""
        if not self.tally.plan.get("snapshots"):
            return "a snapshot of a peer that has none"
        if self.has_snapshot:
            return "a second snapshot"
        if not expected.is_snapshot(fields, self.job, recovered=self.resumes):
            return "a snapshot with wrong content"
        if self.known.snapshot not in (b"", frame):
            return "a snapshot in other bytes than another watcher got"
        if self.resumes and not self._is_whole(fields):
            return "a recovery that is not whole"
        return "" if self.resumes or self._next == self.first else "an event before the snapshot"

    def _is_whole(self, snapshot: dict[str, Any]) -> bool:
        """Return whether a recovery ends with the last event, and its snapshot shows that one."""
        frame = self.known.frame(self.last)
        if frame is None or not self._next - 1 == self.last == snapshot["seq"]:
            return False
        return all(expected.shows(snapshot, _parsed(frame[begin:end])) for _, begin, end in websocket.frames(frame))

    def _take_event(self, fields: dict[str, Any], frame: bytes, payload: bytes) -> None:
        """Check an event, and learn its bytes."""
        seq = fields["seq"]
        if seq < self._next:
            self.disorder += 1
            return
        if seq > self.last:
            self._complain("an event after the last")
            return
        known = self.known.frame(seq)
        if known is not None and known != frame:
            self._complain("an event in other bytes than another watcher got")
        elif known is None and not self.tally.is_right(fields, payload, self.job):
            self._complain("an event with wrong content")
        self.lost += seq - self._next
        self.known.append(seq, frame)
        if seq == self.last and self.known.frame(seq):
            self.known.goal = len(self.known.data)
        self._count(seq)

    def _count(self, seq: int) -> None:
        self._next = seq + 1
        if self.tally.stamping:
            self.tally.stamp(self.number, seq, time.monotonic())

    def _stamp(self, begin: int, end: int) -> None:
        """Note when the events came that end between two places."""
        now = time.monotonic()
        for seq in range(self.known.seq_at(begin), self.known.seq_at(end)):
            self.tally.stamp(self.number, seq, now)

    def _finish(self) -> None:
        if not self.is_finished:
            self.is_finished = True
            if not self.is_stalled:
                self.tally.one_finished()

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
        self.tally.forget(self)
        if not self.is_stalled:
            self._complain(f"closed by the server ({self.close_code or 'no code'})")

    def _complain(self, problem: str) -> None:
        self.tally.count(problem)


def _parsed(payload: bytes) -> dict[str, Any]:
    """Return the JSON object of a text; empty if it is none."""
    try:
        parsed = json.loads(payload.decode())
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}

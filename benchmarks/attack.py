"""Strangers who wish a server no good, from an address of their own: as many connections as they like, each filled.

Started by `benchmarks.strangers` with a plan (JSON) as its argument: which way, which port. It goes on until its
standard input ends, opens anew whatever is closed, and prints how many connections it had and what it sent. It knows
no limits but those of the server, and leaves the processor to everybody else, so that it is the server that is tried.
"""

import json
import os
import selectors
import socket
import sys
from dataclasses import dataclass

from benchmarks import websocket

ADDRESS = "127.0.0.2"  # not that of those who watch
NICENESS = 19
TURN_SECONDS = 0.05
READ_BYTES = 65_536
LISTED, ID_BYTES = 128, 50  # the most jobs that one message may name, and how long their names are here
MESSAGE_BYTES = 60_000  # just within the 64 KiB that a message may have

UPGRADE = (
    b"GET /progress/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + websocket.KEY + b"\r\n\r\n"
)
POST = b"POST /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 400000000\r\n\r\n"


def _frame(payload: bytes, opcode: int = websocket.TEXT) -> bytes:
    """Return a client's frame; a mask of zeros changes nothing."""
    if len(payload) <= websocket.LONGEST_CONTROL:
        return websocket.control_frame(opcode, payload)
    return bytes([0x80 | opcode, 0x80 | 126]) + len(payload).to_bytes(2, "big") + bytes(4) + payload


def _subscription() -> bytes:
    jobs = [{"job_id": f"job-{number:0>{ID_BYTES}}"} for number in range(LISTED)]
    return json.dumps({"type": "subscribe", "jobs": jobs}).ljust(MESSAGE_BYTES).encode()


@dataclass
class Way:
    """What is done on each connection: ``opening`` once, then ``filling`` again and again; nothing: it is cut."""

    connections: int
    opening: bytes
    filling: bytes = b""
    is_reading: bool = True


WAYS = {
    "JSON": Way(100, UPGRADE, _frame(b'{"type":"ping"}') * 400),
    "junk": Way(100, UPGRADE, _frame(b"{") * 1000),
    "long messages": Way(100, UPGRADE, _frame(b'{"type":"ping","x":"'.ljust(MESSAGE_BYTES, b"x") + b'"}')),
    "pings, unread": Way(20, UPGRADE, _frame(bytes(125), websocket.PING) * 500, is_reading=False),
    "one POST of 400 MB": Way(1, POST, bytes(READ_BYTES)),
    "20 POSTs of 400 MB": Way(20, POST, bytes(READ_BYTES)),
    "reconnects": Way(20, UPGRADE),
    "unknown jobs": Way(
        50, UPGRADE, b"".join(_frame(b'{"type":"subscribe","job_id":"no-%d"}' % n) for n in range(400))
    ),
    "subscriptions": Way(5, UPGRADE, _frame(_subscription())),
}


class Attack:
    """All connections of one way."""

    def __init__(self, way: Way, port: int) -> None:
        self.way, self.port = way, port
        self.opened = self.sent = 0
        self._waiting: dict[socket.socket, memoryview] = {}  # what each open connection has still to send
        self._ready = selectors.DefaultSelector()

    def run(self) -> None:
        """Go on until there is an end of the standard input."""
        self._ready.register(sys.stdin, selectors.EVENT_READ)
        while True:
            while len(self._waiting) < self.way.connections and self._open():
                pass
            for key, events in self._ready.select(TURN_SECONDS):
                if key.fileobj is sys.stdin:
                    return
                assert isinstance(key.fileobj, socket.socket)
                self._go_on(key.fileobj, events)

    def _open(self) -> bool:
        """Open a connection, unless the server takes none at the moment."""
        made = socket.socket()
        made.bind((ADDRESS, 0))
        try:
            made.connect(("127.0.0.1", self.port))
            made.sendall(self.way.opening)
        except OSError:
            made.close()
            return False
        made.setblocking(False)
        self.opened += 1
        self._waiting[made] = memoryview(self.way.filling)
        reading = selectors.EVENT_READ if self.way.is_reading else 0
        writing = selectors.EVENT_WRITE if self.way.filling else 0
        self._ready.register(made, reading | writing)
        return True

    def _go_on(self, connection: socket.socket, events: int) -> None:
        try:
            if events & selectors.EVENT_READ and not (connection.recv(READ_BYTES) and self.way.filling):
                raise ConnectionAbortedError  # by the server, or by us, who only wanted to connect
            if events & selectors.EVENT_WRITE:
                self._send(connection)
        except BlockingIOError:
            return
        except OSError:
            del self._waiting[connection]
            self._ready.unregister(connection)
            connection.close()

    def _send(self, connection: socket.socket) -> None:
        """Send as much as is taken; frames stay whole, since the server would end a connection where they are not."""
        taken = connection.send(self._waiting[connection])
        self.sent += taken
        self._waiting[connection] = self._waiting[connection][taken:] or memoryview(self.way.filling)


def main() -> None:
    """Run a plan."""
    plan = json.loads(sys.argv[1])
    os.nice(NICENESS)
    attack = Attack(WAYS[plan["way"]], plan["port"])
    attack.run()
    print(json.dumps({"opened": attack.opened, "sent": attack.sent}), flush=True)


if __name__ == "__main__":
    main()

"""A load client whose sockets the test fills."""

import socket

from benchmarks import payload, websocket
from benchmarks.load import Load
from benchmarks.watcher import Watcher

EVENTS = 6
FIRST = payload.BASE + 1
PLAN = {"watchers": 2, "events": EVENTS, "size": payload.SIZE}


def frame(text: str, opcode: int = websocket.TEXT) -> bytes:
    """Return a message as a server frames it."""
    data = text.encode()
    length = bytes([len(data)]) if len(data) < 126 else b"\x7e" + len(data).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + data


def event(seq: int, **changes: object) -> bytes:
    """Return the frame of an event."""
    return frame(payload.text({**payload.fields(seq), **changes}))


def snapshot(seq: int, **changes: object) -> bytes:
    """Return the frame of a snapshot."""
    more = {"type": "snapshot", "name": "", "epoch": "9f1c2a7be03d5512", "recovered": False}
    return event(seq, **{**more, **changes})


ALL = [event(FIRST + number) for number in range(EVENTS)]


class Wired:
    """A load of watchers, each with the other end of its socket."""

    def __init__(self, jobs: tuple[str, str] = (payload.JOB, payload.JOB), **plan: object) -> None:
        self.load = Load({**PLAN, **plan})
        self.ends: list[socket.socket] = []
        for number in range(2):
            near, far = socket.socketpair()
            near.setblocking(False)
            self.ends.append(far)
            self.load.watchers.append(Watcher(self.load, number, near, jobs[number]))

    def feed(self, number: int, *pieces: bytes) -> None:
        """Let a watcher read these, a read each."""
        for piece in pieces:
            self.ends[number].sendall(piece)
            self.load.watchers[number].read()

    def report(self) -> dict[str, object]:
        """Return what the harness would get."""
        return self.load.report({}, 0.0)

    @property
    def problems(self) -> object:
        return self.report()["problems"]

    def close(self) -> None:
        """Close all sockets."""
        self.load.close()
        for end in self.ends:
            end.close()


# Slow watchers


OWN = "slow-0"
OF_ITS_OWN = [event(FIRST + number, job_id=OWN, message=payload.fields(1, job=OWN)["message"]) for number in range(6)]

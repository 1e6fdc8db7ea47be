"""Transports' ends that the test holds the other end of."""

from typing import Any

from progress.delivery.chunks import Chunk
from progress.delivery.connection import FlowControl
from progress.protocol.codes import CloseCode
from progress.protocol.frames import Frame, event_frame


class FakeSender:
    """Takes frames at once, or ``room`` chunks until it is full; None for any number."""

    def __init__(self, room: int | None = None) -> None:
        self.flow: FlowControl | None = None
        self.room = room
        self.chunks: list[list[str]] = []
        self.codes: list[CloseCode] = []
        self.is_aborted = False

    @property
    def sent(self) -> list[str]:
        """What was sent, however it was cut."""
        return [text for chunk in self.chunks for text in chunk]

    @property
    def is_writable(self) -> bool:
        return self.room is None or self.room > 0

    def write(self, chunk: Chunk) -> None:
        assert not self.codes, "nothing follows the close"
        assert self.is_writable, "nothing is written while it is full"
        self.chunks.append([frame.text for frame in chunk.frames])
        if self.room is not None:
            self.room -= 1
            if not self.room and self.flow is not None:
                self.flow.pause_writing()

    def close(self, code: CloseCode) -> None:
        assert not self.codes, "it is closed once"
        self.codes.append(code)

    def abort(self, code: CloseCode) -> None:
        self.is_aborted = True
        self.close(code)

    def stop(self) -> None:
        self.flow = None

    def empty(self, room: int | None = None) -> None:
        """Take what is stuck, and then ``room`` chunks more."""
        self.room = room
        assert self.flow is not None
        self.flow.resume_writing()


def a_frame(text: str, kind: str = "status", job: str = "a") -> Frame:
    return event_frame(job, 1, kind, text)


def a_chunk(texts: list[str], kind: str = "tick") -> Chunk:
    return Chunk([a_frame(text, kind) for text in texts])


def send_all(connection: Any, texts: list[str], kind: str = "tick", **options: Any) -> None:
    connection.send_chunk(a_chunk(texts, kind), **options)


TWENTY = [str(number) for number in range(20)]

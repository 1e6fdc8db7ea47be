"""Frames as server-sent events (HTML Standard, section 9.2): the ``id`` is a position, the data the frame itself."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from ...delivery.chunks import Chunk
from ...protocol.event_ids import event_id
from ...protocol.frames import HEARTBEAT, Frame
from ...protocol.position import Position

COMMENT = Frame("", state_of=HEARTBEAT, is_tick=True)  # shows proxies that the connection lives; a later one supersedes


class Encoding(Protocol):
    """What makes bytes of a stream's frames, in the order in which they are sent."""

    def events(self, chunk: Chunk, /, *, chunked: bool) -> bytes:
        """Return frames as events; as a chunk of HTTP/1.1 if the server leaves that to us."""


class OneJob:
    """The events of a single job, which are the same bytes for everybody."""

    def events(self, chunk: Chunk, /, *, chunked: bool) -> bytes:
        """Return frames as events, made once for all who watch."""
        return chunk.encoded(_chunked_events if chunked else _events)


class SeveralJobs:
    """The events of several jobs: each tells where the client stands in all of them, by what it was sent before.

    Args:
        positions: Where the client stands in each job, in the order of the URL.

    """

    def __init__(self, positions: Iterable[tuple[str, Position | None]]) -> None:
        self._positions = dict(positions)

    def events(self, chunk: Chunk, /, *, chunked: bool) -> bytes:
        """Return frames as events."""
        events = b"".join([self._event(frame) for frame in chunk.frames])
        return http_chunk(events) if chunked else events

    def _event(self, frame: Frame) -> bytes:
        if not frame.job_id:
            return _event(frame, "")
        self._positions[frame.job_id] = Position(frame.epoch, frame.seq)
        return _event(frame, event_id(self._positions.values()))


def http_chunk(data: bytes) -> bytes:
    """Return bytes as one chunk (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _events(frames: Sequence[Frame]) -> bytes:
    return b"".join([_event(frame, f"{frame.epoch}:{frame.seq}" if frame.job_id else "") for frame in frames])


def _chunked_events(frames: Sequence[Frame]) -> bytes:
    return http_chunk(_events(frames))


def _event(frame: Frame, position: str) -> bytes:
    """Return one event; JSON has no line break, so its data is one line. A frame of nothing is a comment."""
    if not frame.payload:
        return b":\n\n"
    if not position:
        return b"data: %b\n\n" % frame.payload
    return b"id: %b\ndata: %b\n\n" % (position.encode(), frame.payload)

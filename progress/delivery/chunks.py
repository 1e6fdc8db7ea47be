"""Frames that are sent in one go, and what a transport makes of them, made once for all who get them."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

from ..protocol.frames import Frame

CHUNK_BYTES = 32_768  # at most, but for a single frame; small, so that a full socket is noticed early


T = TypeVar("T")


class Chunk:
    """Frames that are sent together, in order."""

    __slots__ = ("_encoded", "frames")

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.frames = frames
        self._encoded: dict[Callable[[Sequence[Frame]], Any], Any] = {}

    def encoded(self, encode: Callable[[Sequence[Frame]], T]) -> T:
        """Return the frames as a transport sends them, encoded once for all of its connections.

        Args:
            encode: A function of the frames alone, the same one for each connection of the transport.

        """
        if encode not in self._encoded:
            self._encoded[encode] = encode(self.frames)
        encoded: T = self._encoded[encode]
        return encoded


def chunks(frames: Sequence[Frame]) -> Iterator[Chunk]:
    """Yield frames in chunks of at most `CHUNK_BYTES`."""
    begun: list[Frame] = []
    size = 0
    for frame in frames:
        if begun and size + len(frame.payload) > CHUNK_BYTES:
            yield Chunk(begun)
            begun, size = [], 0
        begun.append(frame)
        size += len(frame.payload)
    if begun:
        yield Chunk(begun)


class Answers:
    """What was answered last, in chunks that are made once for all who resume from the same event to the same end."""

    def __init__(self) -> None:
        self._made_of: object = None
        self._chunks: Sequence[Chunk] = ()

    def of(self, frames: Sequence[Frame], wants: Collection[str]) -> Sequence[Chunk]:
        """Return the chunks of what follows an event, for a client that wants these extras."""
        made_of = wants, frames[0] if frames else None, frames[-1] if frames else None, len(frames)
        if self._made_of != made_of:
            self._made_of, self._chunks = made_of, list(chunks(frames))
        return self._chunks

    def forget(self) -> None:
        """Keep nothing."""
        self._made_of, self._chunks = None, ()


def visible(frames: Sequence[Frame], wants: Collection[str]) -> list[Frame]:
    """Return the frames for a client that wants some kinds of extras, such as log lines, or none."""
    return [frame for frame in frames if not frame.extra or frame.extra in wants]


def extras(frames: Sequence[Frame], wants: Collection[str]) -> list[Frame]:
    """Return the extras alone that a client wants."""
    return [frame for frame in frames if frame.extra in wants]

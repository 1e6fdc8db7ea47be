"""Frames that are sent in one go, and what a transport makes of them, made once for all who get them."""

from collections.abc import Callable, Iterator, Sequence

from ..protocol.frames import Frame

CHUNK_BYTES = 32_768  # of frames, unless a single one is larger: so a socket that is full is noticed in time


class Chunk:
    """Frames that are sent together, in order."""

    __slots__ = ("_encoded", "frames")

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.frames = frames
        self._encoded: dict[Callable[[Sequence[Frame]], bytes], bytes] = {}

    def encoded(self, encode: Callable[[Sequence[Frame]], bytes]) -> bytes:
        """Return the frames as a transport sends them; it is asked once, however many of its sockets get them."""
        encoded = self._encoded.get(encode)
        if encoded is None:
            encoded = self._encoded[encode] = encode(self.frames)
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


def visible(frames: Sequence[Frame], *, logs: bool) -> list[Frame]:
    """Return the frames for a client that wants log lines or does not."""
    return [frame for frame in frames if logs or frame.state_of]

"""One connection to the server, byte by byte: what is sent may be anything, what comes back is read strictly."""

import contextlib
import socket
import struct
from typing import NamedTuple

ANSWER_SECONDS = 10.0  # after which a server that says nothing, and does not end the connection, hangs
MASK = b"mask"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Frame(NamedTuple):
    """What the server has sent in one frame."""

    opcode: int
    payload: bytes

    @property
    def close_code(self) -> int | None:
        """The code of a close."""
        return int.from_bytes(self.payload[:2]) if self.opcode == CLOSE and self.payload else None


class Wire:
    """A connection whose both ends can be seen: no rule is kept when sending, and each is checked when reading."""

    def __init__(self, port: int) -> None:
        self._link = socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS)
        self._input = self._link.makefile("rb")
        self.received = bytearray()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self._input.close()
        self._link.close()

    def send(self, data: bytes) -> None:
        """Send bytes; a server that has had enough of us takes no more."""
        with contextlib.suppress(ConnectionError):
            self._link.sendall(data)

    def send_no_more(self) -> None:
        """End our direction."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_WR)

    def head(self) -> int | None:
        """Read the head of an HTTP answer, and return its status; None where the connection ends without."""
        line = self._line()
        if not line:
            return None
        version, status, *_ = line.split()
        assert version == b"HTTP/1.1", line
        assert status.isdigit(), line
        while self._line() not in (b"\r\n", b""):
            pass
        return int(status)

    def frame(self) -> Frame | None:
        """Read a frame; None where the connection ends."""
        head = self._read(2)
        if len(head) < 2:
            return None
        assert head[0] & 0x70 == 0, f"reserved bits in {head!r}"
        assert head[0] & 0x80, f"a part of a message: {head!r}"
        assert head[0] & 15 in (TEXT, CLOSE, PING, PONG), f"opcode {head[0] & 15}"
        assert head[1] & 0x80 == 0, "a server masks nothing"
        size = {126: 2, 127: 8}.get(head[1])
        length = head[1] if size is None else int.from_bytes(self._read(size))
        payload = self._read(length)
        return None if len(payload) < length else Frame(head[0] & 15, payload)

    def rest(self) -> bytes:
        """Read until the connection ends."""
        with contextlib.suppress(ConnectionError):
            while data := self._input.read1(65_536):
                self.received += data
        return bytes(self.received)

    def _line(self) -> bytes:
        with contextlib.suppress(ConnectionError):
            line = self._input.readline(65_536)
            self.received += line
            return line
        return b""

    def _read(self, size: int) -> bytes:
        with contextlib.suppress(ConnectionError):
            data = self._input.read(size)
            self.received += data
            return data
        return b""


def framed(payload: bytes, opcode: int = TEXT, *, final: bool = True) -> bytes:
    """Return a frame as a client should send it."""
    return raw_frame(payload, opcode | 0x80 * final, is_masked=True, length=len(payload))


def raw_frame(
    payload: bytes, first: int, *, is_masked: bool, length: int, size: int = 0, mask: bytes = b"mask"
) -> bytes:
    """Return a frame with any head: its first byte, whether it is masked, and how long it says it is.

    Args:
        payload: What follows the head.
        first: The first byte.
        is_masked: Whether it says that it is masked, and is.
        length: The length that it says.
        size: How many bytes that takes, 2 or 8; 0 for as few as there can be.

    """
    size = size or (0 if length < 126 else 2 if length < 65_536 else 8)
    named = length & 127 if size == 0 else {2: 126, 8: 127}[size]
    said = b"" if size == 0 else struct.pack("!H", length & 0xFFFF) if size == 2 else struct.pack("!Q", length)
    head = bytes([first, named | 0x80 * is_masked]) + said
    if not is_masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[index % 4] for index, byte in enumerate(payload))

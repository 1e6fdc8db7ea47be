"""As much of WebSocket (RFC 6455) as a load client needs: the handshake, and what frames are made of.

A library would hand over one frame at a time. The load client wants the bytes as they came, so that it can
compare all that one read brings at once.
"""

import asyncio
import socket
import urllib.parse
from collections.abc import Iterator

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10  # opcodes
WHOLE, RESERVED, MASKED = 0x80, 0x70, 0x80  # bits of a frame's first and second byte
LONGEST_CONTROL = 125  # bytes
KEY, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3
HANDSHAKE_SECONDS = 60.0
HEAD_BYTES = 4096
READ_BYTES = 65_536  # at a time, once it is open


async def connect(url: str, made: socket.socket | None = None, headers: str = "") -> tuple[socket.socket, bytes]:
    """Open a WebSocket; return it, not blocking, and what came behind the handshake.

    ``headers`` are whole lines to add to the request.

    Raises:
        RuntimeError: The server answered with something else.

    """
    parts = urllib.parse.urlsplit(url)
    connection = made or socket.socket()
    connection.setblocking(False)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    request = (
        f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY.decode()}\r\n{headers}\r\n"
    )
    loop, head = asyncio.get_running_loop(), b""
    async with asyncio.timeout(HANDSHAKE_SECONDS):
        await loop.sock_connect(connection, (parts.hostname, parts.port))
        await loop.sock_sendall(connection, request.encode())
        while b"\r\n\r\n" not in head:
            more = await loop.sock_recv(connection, HEAD_BYTES)
            if not more:
                raise RuntimeError(f"{url}: the connection was closed during the handshake: {head!r}")
            head += more
    head, _, rest = head.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101") or ACCEPT not in head:
        raise RuntimeError(f"{url}: no WebSocket: {head.decode(errors='replace')}")
    return connection, rest


def frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the opcode of each whole frame, right or not (see `fault`), and where its payload begins and ends."""
    begin = 0
    while len(data) >= begin + 2:
        opcode, length, payload = data[begin] & 15, data[begin + 1] & ~MASKED, begin + 2
        if length >= 126:
            payload = begin + (4 if length == 126 else 10)
            if len(data) < payload:
                return
            length = int.from_bytes(data[begin + 2 : payload], "big")
        payload += 4 if data[begin + 1] & MASKED else 0
        begin = payload + length
        if len(data) < begin:
            return
        yield opcode, payload, begin


def fault(frame: bytes) -> str:
    """Say what is wrong with a whole frame that a server sent us, who ask for no pong; nothing if it is right.

    RFC 6455, section 5: one whole message, no extension's bits, no mask, a length in as few bytes as hold it.
    """
    opcode, length = frame[0] & 15, frame[1] & ~MASKED
    if opcode not in (TEXT, CLOSE, PING):
        return f"of opcode {opcode}"
    if not frame[0] & WHOLE:
        return "without FIN"
    if frame[0] & RESERVED:
        return "with reserved bits"
    if frame[1] & MASKED:
        return "with a mask"
    if opcode != TEXT and length > LONGEST_CONTROL:
        return "of control that is too long"
    if (length == 126 and frame[2:4] < b"\0\x7e") or (length == 127 and frame[2:10] < b"\0\0\0\0\0\1\0\0"):
        return "with a length in too many bytes"
    return ""


def control_frame(opcode: int, payload: bytes) -> bytes:
    """Return a control frame of a client: masked, by zeros, which change nothing."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload

"""As much of WebSocket (RFC 6455) as a load client needs: the handshake, and what frames are made of.

A library would hand over one frame at a time. The load client wants the bytes as they came, so that it can
compare all that one read brings at once.
"""

import asyncio
import socket
import urllib.parse
from collections.abc import Iterator

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10  # opcodes
KEY, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3
HANDSHAKE_SECONDS = 60.0
HEAD_BYTES = 4096


async def connect(url: str, made: socket.socket | None = None) -> tuple[socket.socket, bytes]:
    """Open a WebSocket; return it, not blocking, and what came behind the handshake.

    Raises:
        RuntimeError: The server answered with something else.

    """
    parts = urllib.parse.urlsplit(url)
    connection = made or socket.socket()
    connection.setblocking(False)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    request = (
        f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY.decode()}\r\n\r\n"
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
    """Yield the opcode of each whole frame, and where its payload begins and ends. A server's have no mask."""
    begin = 0
    while len(data) >= begin + 2:
        opcode, length, payload = data[begin] & 15, data[begin + 1], begin + 2
        if length >= 126:
            payload = begin + (4 if length == 126 else 10)
            if len(data) < payload:
                return
            length = int.from_bytes(data[begin + 2 : payload], "big")
        begin = payload + length
        if len(data) < begin:
            return
        yield opcode, payload, begin


def control_frame(opcode: int, payload: bytes) -> bytes:
    """Return a control frame of a client: masked, by zeros, which change nothing."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload

"""A client that takes little at a time."""

import socket
from contextlib import AbstractAsyncContextManager

from websockets.asyncio.client import ClientConnection, connect

from tests.installation import Served


def narrow_reader(served: Served, job_id: str) -> AbstractAsyncContextManager[ClientConnection]:
    """Open a socket whose client reads when the test does, with a small buffer in the kernel."""
    narrow = socket.create_connection(("127.0.0.1", served.port))
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    url = f"{served.ws_url}/progress/ws/{job_id}"
    return connect(url, sock=narrow, max_queue=1, ping_interval=None, max_size=None)

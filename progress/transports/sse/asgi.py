"""Sending events by ASGI ``send``, on any server."""

import asyncio
import logging
from collections.abc import Callable

from ...delivery.chunks import Chunk
from ...protocol.codes import CloseCode
from ..asgi import AsgiSender, Message, Send
from .encoding import Encoding

logger = logging.getLogger(__name__)

LAST_SECONDS = 1.0  # in which a client may take what is left of a stream that ends


class AsgiBody(AsgiSender):
    """Sends each chunk of events as a message; while a send is suspended, it pauses the writing.

    Args:
        send: The ASGI ``send`` of the request.
        encoding: What makes bytes of the frames.
        on_end: Called when the answer is complete, or can't be completed.

    """

    __slots__ = ("_encoding", "_on_end")

    def __init__(self, send: Send, encoding: Encoding, on_end: Callable[[], None]) -> None:
        super().__init__(send)
        self._encoding = encoding
        self._on_end = on_end

    def begin(self, start: Message, first: bytes) -> None:
        """Send the beginning of the answer."""
        self._put([start, _part(first)])

    def _messages(self, chunk: Chunk) -> list[Message]:
        return [_part(self._encoding.events(chunk, chunked=False))]

    async def _send_close(self, code: CloseCode) -> None:
        """Complete the answer. Servers have no time limit for that, so a client that does not read gets one here."""
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await super()._send_close(code)
        except TimeoutError:
            logger.debug("A stream can't be completed: its client does not read")
        finally:
            self._on_end()

    def _closing(self, code: CloseCode) -> Message:
        return {"type": "http.response.body", "body": b"", "more_body": False}


def _part(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}

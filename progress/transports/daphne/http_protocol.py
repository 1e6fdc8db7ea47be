"""One HTTP request on our server: its body is bounded as it arrives, and forwarded headers are checked."""

import asyncio
import time
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.web.http_headers import Headers

from ...conf import conf
from ...identity.addresses import address_of, is_in, networks_of
from ...identity.limits import COST_BYTES, MessageRate
from .http_channel import BoundedChannel

LINGER_SECONDS = 2.0  # in which a refused client that still sends can read the answer; closed at once, it sees a reset
TOO_LARGE = (
    b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\n\r\n%s"
)
RETRY_SECONDS = b"1"  # for a client whose address opens too many connections
SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}  # Traefik sends wss for a WebSocket


class BoundedRequest(WebRequest):
    """Daphne's request, or the handshake of a WebSocket, with a bounded body."""

    client_addr = None  # until it is processed; Daphne logs it even for a request that never is
    _bytes_left = 0
    _linger: asyncio.TimerHandle | None = None
    is_stream = False  # its answer goes on until the server or the client ends it
    _allowance: MessageRate | None = None  # once the body is refused: how much more the client may send

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        """Refuse a body whose Content-Length is too large, before any of it arrives."""
        self._bytes_left = conf.MAX_BODY_BYTES
        is_too_long = (length or 0) > self._bytes_left
        super().gotLength(0 if is_too_long else length)  # which opens a temporary file for a long body
        if is_too_long:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        """Take a chunk of the body; refuse a body without a length once it is too long."""
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            self._refuse()
        if self._allowance is None:
            super().handleContentChunk(data)
        else:
            self._discard(data)

    def requestReceived(self, *args: Any) -> None:  # noqa: N802
        """Process a complete request, unless it was refused already."""
        if self._allowance is None:
            super().requestReceived(*args)

    def process(self) -> Any:
        """Hand the request to the application, without the headers that a client may have forged."""
        # A client could put any path here, even «javascript:», into the page's links; --root-path sets it instead.
        self.requestHeaders.removeHeader(b"Daphne-Root-Path")
        if self.server.proxy_forwarded_address_header:
            self._check_forwarded()
        if self._is_handshake() and not self.server.admits_handshake(self._address()):
            self._refuse_handshake()
            return None
        return super().process()

    def _is_handshake(self) -> bool:
        return b"websocket" in [value.lower() for value in self.requestHeaders.getRawHeaders(b"Upgrade", [])]

    def _refuse_handshake(self) -> None:
        """Answer 429: nothing is made for this handshake, and Daphne does not log it."""
        self.setResponseCode(429, b"Too Many Requests")
        self.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        self.setHeader(b"Retry-After", RETRY_SECONDS)
        self.write(b"Too many connections were opened from this address (PROGRESS_MAX_HANDSHAKES_PER_SECOND).\n")
        self.finish()

    def _check_forwarded(self) -> None:
        """Reduce the forwarded headers to what a trusted proxy itself added, and drop what is malformed."""
        server, headers = self.server, self.requestHeaders
        if not self._is_from_a_trusted_proxy():
            if headers.hasHeader(server.proxy_forwarded_address_header.encode()):
                server.refusals.note("forwarded address", f"{self.client.host} is not in PROGRESS_TRUSTED_PROXIES")
            for name in (
                server.proxy_forwarded_address_header,
                server.proxy_forwarded_port_header,
                server.proxy_forwarded_proto_header,
            ):
                headers.removeHeader((name or "").encode())
            return
        # Daphne reads the scheme only if there is an address, so one that the proxy left out is replaced by its own.
        _replace(headers, server.proxy_forwarded_address_header, self._address())
        for name, valid in (
            (server.proxy_forwarded_port_header, _port),
            (server.proxy_forwarded_proto_header, _scheme),
        ):
            if name:
                _replace(headers, name, valid(_values(headers, name)))

    def _is_from_a_trusted_proxy(self) -> bool:
        """Return whether the peer is a trusted proxy; who may open our Unix socket is one."""
        peer = getattr(self.client, "host", None)
        return peer is None or is_in(peer, networks_of(conf.TRUSTED_PROXIES))

    def _address(self) -> str | None:
        """Return the client's address, or the proxy's if that did not name one; None on a Unix socket."""
        header, forwarded = self.server.proxy_forwarded_address_header, None
        if header and self._is_from_a_trusted_proxy():
            forwarded = _client_of(_values(self.requestHeaders, header), conf.PROXIES)
        return forwarded or getattr(self.client, "host", None)

    def _refuse(self) -> None:
        """Answer 413 and close; from here on, what arrives is discarded."""
        if self._allowance is not None:
            return
        self._allowance = self.server.allowance_of(self._address())
        self.requestHeaders.removeHeader(b"Expect")  # or Twisted would ask for the body
        self.content.close()
        words = f"A request may have {conf.MAX_BODY_BYTES:,} bytes (PROGRESS_MAX_BODY_BYTES).\n".encode()
        transport = self.channel.transport
        transport.write(TOO_LARGE % (len(words), words))
        transport.loseWriteConnection()
        self._linger = asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.loseConnection)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        """Cancel the timer, which would keep the connection in memory."""
        if self._linger is not None:
            self._linger.cancel()
        super().connectionLost(reason)

    def _discard(self, data: bytes) -> None:
        """Discard what arrives after the answer; close at once if the client sends more than its allowance."""
        assert self._allowance is not None
        if self._allowance.spend(len(data) / COST_BYTES, time.monotonic()):
            self.channel.transport.loseConnection()


class BoundedHTTPFactory(HTTPFactory):
    """Daphne's factory, whose requests are bounded."""

    def buildProtocol(self, address: Any) -> Any:  # noqa: N802
        """Return the protocol of a new connection."""
        protocol = super().buildProtocol(address)
        protocol.requestFactory = BoundedRequest
        protocol.timeOut = conf.HEADER_SECONDS
        protocol._channel.__class__ = BoundedChannel  # which Twisted has made in its wrapper
        return protocol


def _values(headers: Headers, name: str) -> list[str]:
    """Return the values of a header, whether in one line or in several."""
    lines = headers.getRawHeaders(name.encode(), [])
    return [value.strip() for line in lines for value in line.decode("latin1").split(",")]


def _replace(headers: Headers, name: str, value: str | None) -> None:
    headers.removeHeader(name.encode())
    if value is not None:
        headers.addRawHeader(name.encode(), value.encode())


def _client_of(addresses: list[str], proxies: int) -> str | None:
    """Return the address that the outermost of our proxies added; None if that is not an address.

    Each proxy appends the address of its client. What is further left came from the client, which may have forged it.
    """
    added = addresses[-proxies:][:1]
    return address_of(added[0]) if added else None


def _port(values: list[str]) -> str | None:
    is_port = values and values[-1].isascii() and values[-1].isdecimal() and len(values[-1]) <= 5
    return values[-1] if is_port else None


def _scheme(values: list[str]) -> str | None:
    return SCHEMES.get(values[-1].lower()) if values else None

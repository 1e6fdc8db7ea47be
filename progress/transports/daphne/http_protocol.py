"""One HTTP request on Daphne: its body is bounded while it comes, and what its headers say of proxies is looked at."""

import asyncio
import ipaddress
import time
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.web.http_headers import Headers

from ...conf import conf
from ...identity.limits import COST_BYTES, MessageRate

LINGER_SECONDS = 2.0  # in which a client that sends on can read why it was refused; cut off, it would see a reset
TOO_LARGE = (
    b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\n\r\n%s"
)
SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}  # Traefik says wss of a WebSocket


class BoundedRequest(WebRequest):
    """Daphne's request, or the handshake of a WebSocket, of which no more is kept than may be."""

    client_addr = None  # until it is processed; Daphne logs it of one that never was
    _bytes_left = 0
    _linger: asyncio.TimerHandle | None = None
    _allowance: MessageRate | None = None  # of a client whose body was refused, for what it sends nevertheless

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        """Refuse a body that says that it is too long, before any of it has come."""
        self._bytes_left = conf.MAX_BODY_BYTES
        is_too_long = (length or 0) > self._bytes_left
        super().gotLength(0 if is_too_long else length)  # which makes a file for a long one
        if is_too_long:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        """Take a piece of the body, unless that is too much of one that did not say its length."""
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            self._refuse()
        if self._allowance is None:
            super().handleContentChunk(data)
        else:
            self._discard(data)

    def requestReceived(self, *args: Any) -> None:  # noqa: N802
        """Go on with a request that is whole, unless it was answered already."""
        if self._allowance is None:
            super().requestReceived(*args)

    def process(self) -> Any:
        """Hand the request to the application, with headers that nobody made up."""
        # A client can name any path here, even «javascript:», and find it in the page's links: --root-path is for that.
        self.requestHeaders.removeHeader(b"Daphne-Root-Path")
        if self.server.proxy_forwarded_address_header:
            self._check_forwarded()
        return super().process()

    def _check_forwarded(self) -> None:
        """Leave of the headers of a proxy what it said itself, and only what can be read."""
        server, headers = self.server, self.requestHeaders
        # Daphne reads the scheme only where there is an address, so where the proxy named none, its own stands there.
        _replace(headers, server.proxy_forwarded_address_header, self._address())
        for name, known in (
            (server.proxy_forwarded_port_header, _port),
            (server.proxy_forwarded_proto_header, _scheme),
        ):
            if name:
                _replace(headers, name, known(_values(headers, name)))

    def _address(self) -> str | None:
        """Return the client's address, as far as it is known."""
        header = self.server.proxy_forwarded_address_header
        forwarded = _client_of(_values(self.requestHeaders, header), conf.PROXIES) if header else None
        return forwarded or getattr(self.client, "host", None)

    def _refuse(self) -> None:
        """Answer and close, and take no notice of what else comes."""
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
        """Let go of the connection: many that are refused within two seconds would fill the memory."""
        if self._linger is not None:
            self._linger.cancel()
        super().connectionLost(reason)

    def _discard(self, data: bytes) -> None:
        """Throw away what comes after the answer, as long as its client has an allowance for it."""
        assert self._allowance is not None
        if self._allowance.spend(len(data) / COST_BYTES, time.monotonic()):
            self.channel.transport.loseConnection()


class BoundedHTTPFactory(HTTPFactory):
    """Daphne's factory, whose requests are bounded."""

    def buildProtocol(self, address: Any) -> Any:  # noqa: N802
        """Return the protocol of a new connection."""
        protocol = super().buildProtocol(address)
        protocol.requestFactory = BoundedRequest
        return protocol


def _values(headers: Headers, name: str) -> list[str]:
    """Return the values of a header, those in one line as well as those in several."""
    lines = headers.getRawHeaders(name.encode(), [])
    return [value.strip() for line in lines for value in line.decode("latin1").split(",")]


def _replace(headers: Headers, name: str, value: str | None) -> None:
    headers.removeHeader(name.encode())
    if value is not None:
        headers.addRawHeader(name.encode(), value.encode())


def _client_of(addresses: list[str], proxies: int) -> str | None:
    """Return the address that the outermost of our proxies has seen; what stands before it the client has made up.

    Each proxy adds at the right whom it was asked by. None where that is no address.
    """
    said = addresses[-proxies:][:1]
    try:
        return str(ipaddress.ip_address(_without_port(said[0]))) if said else None
    except ValueError:
        return None


def _without_port(address: str) -> str:
    """Return an address of «1.2.3.4:5», «[::1]:5» or «::1»."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _port(values: list[str]) -> str | None:
    is_port = values and values[-1].isascii() and values[-1].isdecimal() and len(values[-1]) <= 5
    return values[-1] if is_port else None


def _scheme(values: list[str]) -> str | None:
    return SCHEMES.get(values[-1].lower()) if values else None

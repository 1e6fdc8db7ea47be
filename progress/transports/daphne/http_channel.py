"""One HTTP connection on our server: the headers of a request have to come in time, however slowly they trickle."""

from typing import Any

from twisted.protocols.basic import LineReceiver
from twisted.web.http import HTTPChannel

from ...conf import conf

BODY_SECONDS = 60.0  # for which a client may stop in a body, or between two requests: that of Twisted
TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BoundedChannel(HTTPChannel):
    """Twisted's channel, whose time limit for headers is one for all of them.

    Twisted's begins anew with each byte. That remains so for a body. Number and size of headers are bounded there: 500,
    and 16 KiB.
    """

    transport: Any
    _is_used = False  # there was a request; the time for the first runs since the connection was opened
    _has_begun = False  # something of the next request has come
    _has_headers = False  # the next request is complete but for its body, or is being answered

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take bytes; those of headers do not begin the time anew."""
        if self._has_headers:
            self.resetTimeout()
        elif not self._has_begun:
            self._has_begun = True
            if self._is_used:
                self.setTimeout(None)  # to bring a timer forward has Twisted sort all of them
                self.setTimeout(conf.HEADER_SECONDS)
        LineReceiver.dataReceived(self, data)

    def allHeadersReceived(self) -> None:  # noqa: N802
        """Give the body, and then the pause before the next request, Twisted's usual time."""
        self._has_headers = True
        self.setTimeout(BODY_SECONDS)
        super().allHeadersReceived()

    def requestDone(self, request: Any) -> None:  # noqa: N802
        """Wait for the next request."""
        self._is_used, self._has_begun, self._has_headers = True, False, False
        super().requestDone(request)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: N802
        """Say why, and close."""
        self.transport.write(TOO_LONG)
        self.loseConnection()

    def timeoutConnection(self) -> None:  # noqa: N802
        """Say why, and close."""
        if self._has_begun and not self._has_headers:
            self.transport.write(TOO_SLOW)
        super().timeoutConnection()
